package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/policy"
	"spoor/internal/seal"
	"spoor/internal/tag"
)

const (
	account = "111122223333"
	member  = "444455556666"
	region  = "eu-west-1"
)

var (
	home  = Ref{account, region}
	start = time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)
)

// clock is one that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) days(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.AddDate(0, 0, n)
}

func open(t testing.TB, dir string, o Options) *Ring {
	t.Helper()
	if o.Now == nil {
		o.Now = (&clock{now: start}).Now
	}
	o.Account, o.Region = account, region
	r, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func create(t testing.TB, r *Ring) Key {
	t.Helper()
	k, _, err := r.Create(home, Spec{Description: "of a trail"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// is checks that an error is of a kind.
func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: %v; want %v", what, err, want)
	}
}

func last[T any](_ T, _ Undo, err error) error { return err }
func second[T any](_ T, err error) error       { return err }

func TestDataKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, dir, Options{})
	k := create(t, r)
	if k.ARN != "arn:aws:kms:eu-west-1:111122223333:key/"+k.ID || !k.Enabled || !k.Created.Equal(start) || k.Ref != home || len(k.Material) != 64 {
		t.Errorf("%+v", k)
	}
	with := map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k", "a": ""}
	d, err := r.GenerateDataKey(t.Context(), k.ARN, with)
	if err != nil || len(d.Plaintext) != 32 || d.KeyARN != k.ARN || bytes.Contains(d.Wrapped, d.Plaintext) {
		t.Fatalf("%+v, %v", d, err)
	}
	again, err := r.GenerateDataKey(t.Context(), k.ARN, with)
	if err != nil || bytes.Equal(again.Plaintext, d.Plaintext) || bytes.Equal(again.Wrapped, d.Wrapped) {
		t.Errorf("twice the same: %v", err)
	}
	same := func(what string, r *Ring) {
		t.Helper()
		got, err := r.Unwrap(t.Context(), d.Wrapped, maps.Clone(with))
		if err != nil || !bytes.Equal(got.Plaintext, d.Plaintext) || got.KeyARN != k.ARN {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	same("at once", r)
	if arn, err := r.KeyOf(d.Wrapped); err != nil || arn != k.ARN {
		t.Errorf("%s, %v", arn, err)
	}
	for name, c := range map[string]map[string]string{
		"no context": nil, "less": {"a": ""}, "more": {"aws:s3:arn": "arn:aws:s3:::b/k", "a": "", "b": ""}, "another": {"aws:s3:arn": "arn:aws:s3:::b/l", "a": ""},
		"another border": {"aws:s3:ar": "narn:aws:s3:::b/k", "a": ""}, "another case": {"AWS:s3:arn": "arn:aws:s3:::b/k", "a": ""},
	} {
		is(t, name, second(r.Unwrap(t.Context(), d.Wrapped, c)), ErrCiphertext)
	}
	for i := range d.Wrapped {
		changed := bytes.Clone(d.Wrapped)
		changed[i] ^= 1
		is(t, "changed", second(r.Unwrap(t.Context(), changed, with)), ErrCiphertext)
		is(t, "cut off", second(r.Unwrap(t.Context(), d.Wrapped[:i], with)), ErrCiphertext)
	}
	other := open(t, t.TempDir(), Options{})
	is(t, "another ring", second(other.Unwrap(t.Context(), d.Wrapped, with)), ErrCiphertext)
	is(t, "a key that is not there", second(r.GenerateDataKey(t.Context(), k.ARN[:len(k.ARN)-1]+"x", nil)), ErrNotFound)
	is(t, "no ARN", second(r.GenerateDataKey(t.Context(), k.ID, nil)), ErrNotFound)
	is(t, "a long context", second(r.GenerateDataKey(t.Context(), k.ARN, map[string]string{"a": strings.Repeat("x", MaxContext)})), ErrInvalid)
	is(t, "an empty key", second(r.GenerateDataKey(t.Context(), k.ARN, map[string]string{"": "x"})), ErrInvalid)
	is(t, "much text", second(r.Encrypt(t.Context(), k.ARN, make([]byte, MaxPlaintext+1), nil)), ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	is(t, "nobody waits", second(r.GenerateDataKey(ctx, k.ARN, nil)), context.Canceled)

	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	is(t, "closed", last(r.Create(home, Spec{})), ErrClosed)
	same("opened again", open(t, dir, Options{}))
}

// TestStates: what a key does in its states, and by what names it is found.
func TestStates(t *testing.T) {
	t.Parallel()
	c := &clock{now: start}
	r := open(t, t.TempDir(), Options{Now: c.Now})
	k := create(t, r)
	ctx := t.Context()
	d, err := r.GenerateDataKey(ctx, k.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	uses := func(what string, want error) {
		t.Helper()
		is(t, what+": generate", second(r.GenerateDataKey(ctx, k.ARN, nil)), want)
		is(t, what+": unwrap", second(r.Unwrap(ctx, d.Wrapped, nil)), want)
	}
	uses("new", nil)
	is(t, "disable", last(r.SetEnabled(k.ARN, false)), nil)
	uses("disabled", ErrDisabled)
	is(t, "rotate a disabled key", last(r.Rotate(k.ARN)), ErrDisabled)
	is(t, "let a disabled key rotate", last(r.SetRotation(k.ARN, 90)), ErrDisabled)
	is(t, "enable", last(r.SetEnabled(k.ARN, true)), nil)
	uses("enabled", nil)
	is(t, "cancel nothing", last(r.CancelDeletion(k.ARN)), ErrState)
	is(t, "too soon", last(r.ScheduleDeletion(k.ARN, 6)), ErrInvalid)
	is(t, "too late", last(r.ScheduleDeletion(k.ARN, 31)), ErrInvalid)
	if err := second(r.CreateAlias(home, "alias/logs", k.ARN)); err != nil {
		t.Fatal(err)
	}
	pending, _, err := r.ScheduleDeletion(k.ARN, 7)
	if err != nil || !pending.Deletion.Equal(start.AddDate(0, 0, 7)) || pending.Enabled {
		t.Errorf("%+v, %v", pending, err)
	}
	uses("pending", ErrPending)
	for name, err := range map[string]error{
		"schedule again": last(r.ScheduleDeletion(k.ARN, 7)), "enable": last(r.SetEnabled(k.ARN, true)), "rotate": last(r.Rotate(k.ARN)), "describe": last(r.SetDescription(k.ARN, "x")),
		"tag": last(r.AddTags(k.ARN, []tag.Tag{{Key: "a"}})), "untag": last(r.RemoveTags(k.ARN, nil)), "let rotate": last(r.SetRotation(k.ARN, 90)),
		"alias": second(r.CreateAlias(home, "alias/x", k.ARN)),
	} {
		is(t, name+" while pending", err, ErrPending)
	}
	if back, _, err := r.CancelDeletion(k.ARN); err != nil || back.Enabled || !back.Deletion.IsZero() {
		t.Errorf("%+v, %v", back, err)
	}
	uses("cancelled", ErrDisabled)
	is(t, "enable", last(r.SetEnabled(k.ARN, true)), nil)
	uses("back", nil)

	for id, want := range map[string]string{
		k.ID: k.ARN, k.ARN: k.ARN, "alias/logs": k.ARN, "arn:aws:kms:eu-west-1:111122223333:alias/logs": k.ARN,
		"alias/other": "", "logs": "", "": "", "arn:aws:kms:eu-west-1:444455556666:key/" + k.ID: "", "arn:aws:kms:us-east-1:111122223333:key/" + k.ID: "",
		"arn:aws-cn:kms:eu-west-1:111122223333:key/" + k.ID: "", "arn:aws:kms:eu-west-1:111122223333:alias/other": "",
	} {
		got, err := r.Resolve(home, id)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
	is(t, "an id in another account", second(r.Resolve(Ref{member, region}, k.ID)), ErrNotFound)
	is(t, "an id in another Region", second(r.Resolve(Ref{account, "us-east-1"}, "alias/logs")), ErrNotFound)

	is(t, "schedule", last(r.ScheduleDeletion(k.ARN, 30)), nil)
	c.days(29)
	is(t, "a day before", second(r.Key(k.ARN)), nil)
	c.days(1)
	is(t, "its time has come", second(r.Key(k.ARN)), ErrNotFound)
	is(t, "unwrap for ever", second(r.Unwrap(ctx, d.Wrapped, nil)), ErrCiphertext)
	is(t, "its alias", second(r.Resolve(home, "alias/logs")), ErrNotFound)
	text, err := os.ReadFile(filepath.Join(r.dir, "state.json"))
	if err != nil || bytes.Contains(text, []byte(k.Material)) || bytes.Contains(text, []byte(k.ID)) {
		t.Errorf("the key is still in the state: %v", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	c := &clock{now: start}
	dir := t.TempDir()
	r := open(t, dir, Options{Now: c.Now})
	k := create(t, r)
	var wrapped [][]byte
	wrap := func() {
		t.Helper()
		d, err := r.GenerateDataKey(t.Context(), k.ARN, nil)
		if err != nil {
			t.Fatal(err)
		}
		wrapped = append(wrapped, d.Wrapped)
	}
	wrap()
	is(t, "too often", last(r.SetRotation(k.ARN, 89)), ErrInvalid)
	is(t, "too seldom", last(r.SetRotation(k.ARN, 2561)), ErrInvalid)
	on, _, err := r.SetRotation(k.ARN, DefaultRotation)
	if err != nil || on.Rotation != 365 || !on.Next.Equal(start.AddDate(0, 0, 365)) {
		t.Fatalf("%+v, %v", on, err)
	}
	c.days(364)
	wrap()
	if now, err := r.Key(k.ARN); err != nil || now.Material != k.Material {
		t.Errorf("rotated too early: %v", err)
	}
	c.days(1)
	wrap()
	c.days(10)
	now, _, err := r.Rotate(k.ARN)
	if err != nil || !now.Next.Equal(start.AddDate(0, 0, 730)) {
		t.Errorf("%+v, %v", now, err)
	}
	wrap()
	is(t, "off", last(r.SetRotation(k.ARN, 0)), nil)
	c.days(2000)
	wrap()
	had, err := r.Materials(k.ARN)
	if err != nil || len(had) != 3 || had[0].ID != k.Material || had[1].OnDemand || !had[1].Made.Equal(start.AddDate(0, 0, 365)) || !had[2].OnDemand || had[2].ID != now.Material {
		t.Errorf("%+v, %v", had, err)
	}
	seen := map[string]bool{}
	for i, w := range wrapped {
		if _, err := r.Unwrap(t.Context(), w, nil); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		b, _ := parseBlob(w)
		seen[b.material] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d materials wrapped", len(seen))
	}
	for range MaxOnDemand - 1 {
		is(t, "rotate", last(r.Rotate(k.ARN)), nil)
	}
	is(t, "too often", last(r.Rotate(k.ARN)), ErrLimit)
}

// external is a KMS of which only the ARN counts.
type external struct{ calls []string }

func (e *external) GenerateDataKey(_ context.Context, arn string, _ map[string]string) (DataKey, error) {
	e.calls = append(e.calls, "generate "+arn)
	return DataKey{KeyARN: arn, Plaintext: make([]byte, 32), Wrapped: []byte("theirs")}, nil
}

func (e *external) Decrypt(_ context.Context, arn string, wrapped []byte, _ map[string]string) ([]byte, error) {
	e.calls = append(e.calls, "decrypt "+arn+" "+string(wrapped))
	return make([]byte, 32), nil
}

func TestExternal(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-east-1:999988887777:key/mrk-1234abcd"
	e := &external{}
	r := open(t, t.TempDir(), Options{External: e})
	k := create(t, r)
	if got, err := r.Resolve(home, arn); got != arn || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	d, err := r.GenerateDataKey(t.Context(), arn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.KeyOf(d.Wrapped); got != arn || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := r.Unwrap(t.Context(), d.Wrapped, nil); err != nil || got.KeyARN != arn || len(got.Plaintext) != 32 {
		t.Errorf("%+v, %v", got, err)
	}
	if want := []string{"generate " + arn, "decrypt " + arn + " theirs"}; !slices.Equal(e.calls, want) {
		t.Errorf("%q", e.calls)
	}
	is(t, "a key of the ring's account that is not there", second(r.GenerateDataKey(t.Context(), "arn:aws:kms:eu-west-1:111122223333:key/"+strings.Replace(k.ID, k.ID[:8], "00000000", 1), nil)), ErrNotFound)
	for by, want := range map[*policy.Principal]policy.Effect{{Service: "cloudtrail.amazonaws.com"}: policy.Allow, {Anonymous: true}: policy.None, {Account: account}: policy.Delegate} {
		if got, err := r.Allowed(arn, "kms:Decrypt", *by, nil); got != want || err != nil {
			t.Errorf("%+v: %v, %v", by, got, err)
		}
	}
	none := open(t, t.TempDir(), Options{})
	is(t, "no external service", second(none.Unwrap(t.Context(), d.Wrapped, nil)), ErrNotFound)
	is(t, "no external service", second(none.Resolve(home, arn)), ErrNotFound)
	for i := range len(externalMagic) + 2 + len(arn) + 1 {
		is(t, "cut off", second(none.Unwrap(t.Context(), d.Wrapped[:i], nil)), ErrCiphertext)
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir(), Options{})
	trail, ann := policy.Principal{Service: "cloudtrail.amazonaws.com"}, policy.Principal{ARN: "arn:aws:iam::111122223333:user/ann", Account: account}
	k := create(t, r)
	ask := func(action string, by policy.Principal, conditions map[string][]string) policy.Effect {
		t.Helper()
		e, err := r.Allowed(k.ARN, action, by, conditions)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if a, b := ask("kms:Decrypt", ann, nil), ask("kms:GenerateDataKey", trail, nil); a != policy.Delegate || b != policy.None {
		t.Errorf("the default policy says %v and %v", a, b)
	}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*",
		"Condition":{"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}}]}`
	if now, _, err := r.SetPolicy(k.ARN, []byte(text)); err != nil || now.PolicyText != text {
		t.Fatalf("%+v, %v", now, err)
	}
	context := map[string][]string{"kms:EncryptionContext:aws:cloudtrail:arn": {"arn:aws:cloudtrail:eu-west-1:111122223333:trail/x"}}
	if a, b, c := ask("kms:Decrypt", ann, context), ask("kms:GenerateDataKey", trail, context), ask("kms:GenerateDataKey", trail, nil); a != policy.None || b != policy.Allow || c != policy.None {
		t.Errorf("it says %v, %v and %v", a, b, c)
	}
	if owner, doc, err := r.Policy(k.ARN); owner != account || string(doc.Text()) != text || err != nil {
		t.Errorf("%s, %v", owner, err)
	}
	is(t, "no key", second(r.Allowed(k.ARN+"x", "kms:Decrypt", ann, nil)), ErrNotFound)
	is(t, "no policy", last(r.SetPolicy(k.ARN, []byte(`{}`))), ErrPolicy)
	is(t, "no policy", last(r.Create(home, Spec{Policy: []byte(`{"Statement":{"Effect":"Allow"}}`)})), ErrPolicy)
}

func TestAliases(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir(), Options{})
	a, b := create(t, r), create(t, r)
	for name, c := range map[string]struct{ got, want error }{
		"create":                {second(r.CreateAlias(home, "alias/x/y", a.ARN)), nil},
		"again":                 {second(r.CreateAlias(home, "alias/x/y", b.ARN)), ErrExists},
		"no prefix":             {second(r.CreateAlias(home, "x", a.ARN)), ErrInvalid},
		"no name":               {second(r.CreateAlias(home, "alias/", a.ARN)), ErrInvalid},
		"of no key":             {second(r.CreateAlias(home, "alias/z", a.ARN+"x")), ErrNotFound},
		"in another account":    {second(r.CreateAlias(Ref{member, region}, "alias/z", a.ARN)), ErrNotFound},
		"update what is not":    {second(r.UpdateAlias(home, "alias/z", a.ARN)), ErrNotFound},
		"delete what is not":    {second(r.DeleteAlias(home, "alias/z")), ErrNotFound},
		"delete without a name": {second(r.DeleteAlias(home, "z")), ErrInvalid},
	} {
		if name != "again" {
			is(t, name, c.got, c.want)
		}
	}
	is(t, "again", second(r.CreateAlias(home, "alias/x/y", b.ARN)), ErrExists)
	is(t, "update", second(r.UpdateAlias(home, "alias/x/y", b.ARN)), nil)
	all, err := r.Aliases(home, "")
	if err != nil || len(all) != 1 || all[0].KeyID != b.ID || all[0].Name != "alias/x/y" || all[0].ARN != "arn:aws:kms:eu-west-1:111122223333:alias/x/y" {
		t.Errorf("%+v, %v", all, err)
	}
	if of, err := r.Aliases(home, a.ID); err != nil || len(of) != 0 {
		t.Errorf("%+v, %v", of, err)
	}
	if k, err := r.Key(b.ARN); err != nil || !slices.Equal(k.Aliases, []string{"alias/x/y"}) {
		t.Errorf("%+v, %v", k, err)
	}
	is(t, "delete", second(r.DeleteAlias(home, "alias/x/y")), nil)
	if keys, err := r.Keys(home); err != nil || len(keys) != 2 || keys[0].ID >= keys[1].ID {
		t.Errorf("%+v, %v", keys, err)
	}
}

// TestUndo: every change can be taken back, in memory and on disk, also across a new master key.
func TestUndo(t *testing.T) {
	t.Parallel()
	for _, rewrapped := range []bool{false, true} {
		dir := t.TempDir()
		r := open(t, dir, Options{})
		k, other, doomed := create(t, r), create(t, r), create(t, r)
		is(t, "alias", second(r.CreateAlias(home, "alias/a", k.ARN)), nil)
		is(t, "pending", last(r.ScheduleDeletion(doomed.ARN, 9)), nil)
		undo := func(_ Key, u Undo, err error) (Undo, error) { return u, err }
		for name, do := range map[string]func() (Undo, error){
			"create":       func() (Undo, error) { return undo(r.Create(home, Spec{})) },
			"describe":     func() (Undo, error) { return undo(r.SetDescription(k.ARN, "x")) },
			"disable":      func() (Undo, error) { return undo(r.SetEnabled(k.ARN, false)) },
			"policy":       func() (Undo, error) { return undo(r.SetPolicy(k.ARN, r.DefaultPolicy(member))) },
			"let rotate":   func() (Undo, error) { return undo(r.SetRotation(k.ARN, 100)) },
			"rotate":       func() (Undo, error) { return undo(r.Rotate(k.ARN)) },
			"delete":       func() (Undo, error) { return undo(r.ScheduleDeletion(k.ARN, 7)) },
			"cancel":       func() (Undo, error) { return undo(r.CancelDeletion(doomed.ARN)) },
			"tag":          func() (Undo, error) { return undo(r.AddTags(k.ARN, []tag.Tag{{Key: "a", Value: "b"}})) },
			"alias":        func() (Undo, error) { return r.CreateAlias(home, "alias/b", k.ARN) },
			"other alias":  func() (Undo, error) { return r.UpdateAlias(home, "alias/a", other.ARN) },
			"delete alias": func() (Undo, error) { return r.DeleteAlias(home, "alias/a") },
		} {
			if rewrapped && name != "create" && name != "rotate" { // those that seal
				continue
			}
			before := told(t, r.state.Get())
			back, err := do()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if told(t, r.state.Get()) == before {
				t.Errorf("%s changed nothing", name)
			}
			if rewrapped {
				later, _, err := r.Rotate(other.ARN) // is made again on what never was changed
				is(t, "rotate another", err, nil)
				is(t, "rewrap", r.Rewrap(t.Context(), nil), nil)
				is(t, "undo", back(), nil)
				if now, err := r.Key(other.ARN); err != nil || now.Material != later.Material {
					t.Errorf("%s: the change after it went with it: %v", name, err)
				}
				is(t, "use", second(r.GenerateDataKey(t.Context(), other.ARN, nil)), nil)
				continue
			}
			is(t, "undo", back(), nil)
			if after := told(t, r.state.Get()); after != before {
				t.Errorf("%s: %s\nnot %s", name, after, before)
			}
			b, err := os.ReadFile(filepath.Join(dir, "state.json"))
			if err != nil {
				t.Fatal(err)
			}
			if f, err := decodeState(b); err != nil || told(t, f) != before {
				t.Errorf("%s: on disk %s, %v", name, b, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, Options{}) // every material opens
		is(t, "close", again.Close(), nil)
	}
}

func told(t *testing.T, f *file) string {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMaster: a ring opens with its master key alone, and that can be replaced, whenever a crash comes.
func TestMaster(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	path, next := filepath.Join(dir, MasterFile), filepath.Join(dir, "master.key.next")
	r := open(t, dir, Options{})
	k := create(t, r)
	d, err := r.GenerateDataKey(ctx, k.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal("signing", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(what string, r *Ring) {
		t.Helper()
		got, err := r.Unwrap(ctx, d.Wrapped, nil)
		text, err2 := r.Unseal("signing", sealed)
		if err != nil || err2 != nil || !bytes.Equal(got.Plaintext, d.Plaintext) || string(text) != "secret" {
			t.Errorf("%s: %v, %v", what, err, err2)
		}
	}
	is(t, "another purpose", second(r.Unseal("sign", sealed)), ErrCiphertext)
	is(t, "a purpose with a zero byte", second(r.Seal("a\x00", nil)), ErrInvalid)
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "state.json")
	oldMaster, oldState := read(path), read(state)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	is(t, "a second process", second(Open(ctx, dir, Options{Account: account, Region: region})), ErrLocked)
	is(t, "rewrap", r.Rewrap(ctx, nil), nil)
	opens("rewrapped", r)
	newMaster, newState := read(path), read(state)
	if bytes.Equal(oldMaster, newMaster) || exists(next) {
		t.Error("the master key was not replaced")
	}
	for _, m := range r.state.Get().Keys[0].Materials {
		if bytes.Contains(oldState, []byte(m.Sealed)) {
			t.Error("a material is sealed as before")
		}
	}
	is(t, "close", r.Close(), nil)
	again := func(what string, want error) {
		t.Helper()
		r, err := Open(ctx, dir, Options{Account: account, Region: region})
		is(t, what, err, want)
		if err != nil {
			return
		}
		opens(what, r)
		if exists(next) {
			t.Errorf("%s: %s is left", what, next)
		}
		is(t, "close", r.Close(), nil)
	}
	again("opened again", nil)
	// Crashes of Rewrap: before the state was written, and after.
	write(path, oldMaster)
	write(state, oldState)
	write(next, newMaster)
	again("the old state, both masters", nil)
	if !bytes.Equal(read(path), oldMaster) {
		t.Error("the old master key is gone")
	}
	write(state, newState)
	write(next, newMaster)
	again("the new state, both masters", nil)
	if !bytes.Equal(read(path), newMaster) {
		t.Error("the new master key is not in its place")
	}
	write(path, oldMaster)
	again("the new state, the old master", ErrMaster)
	write(path, []byte("nothing"))
	again("a damaged master", ErrMaster)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again("no master", ErrMaster)
	if exists(path) {
		t.Error("a master key was made for a ring that has one")
	}

	// Given, the key is nowhere beside the ring.
	given, other := seal.Random(), seal.Random()
	dir = t.TempDir()
	r = open(t, dir, Options{Master: given})
	k = create(t, r)
	if d, err = r.GenerateDataKey(ctx, k.ARN, nil); err != nil {
		t.Fatal(err)
	}
	if sealed, err = r.Seal("signing", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	is(t, "rewrap without one", r.Rewrap(ctx, nil), ErrInvalid)
	is(t, "rewrap with a short one", r.Rewrap(ctx, given[:16]), ErrInvalid)
	is(t, "rewrap", r.Rewrap(ctx, other), nil)
	opens("given another", r)
	is(t, "close", r.Close(), nil)
	if exists(filepath.Join(dir, MasterFile)) {
		t.Error("the master key lies beside the ring")
	}
	is(t, "the one before", second(Open(ctx, dir, Options{Account: account, Region: region, Master: given})), ErrMaster)
	is(t, "none", second(Open(ctx, dir, Options{Account: account, Region: region})), ErrMaster)
	opens("the new one", open(t, dir, Options{Master: other}))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const goodState = `{"format":"spoor-keyring","version":1,"masterKey":"0123456789abcdef","root":"AA==","own":"AA==","keys":[
 {"id":"11111111-2222-4333-8444-555555555555","account":"111122223333","region":"eu-west-1","created":"2026-03-09T08:00:00Z","enabled":true,
  "policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}}","rotation":365,"next":"2027-03-09T08:00:00Z","tags":[{"key":"a","value":"b"}],
  "materials":[{"id":"00000000000000000000000000000000000000000000000000000000000000aa","made":"2026-03-09T08:00:00Z","sealed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}],
 "aliases":[{"account":"111122223333","region":"eu-west-1","name":"x","key":"11111111-2222-4333-8444-555555555555","created":"2026-03-09T08:00:00Z","updated":"2026-03-09T08:00:00Z"}]}`

func TestState(t *testing.T) {
	t.Parallel()
	if _, err := decodeState([]byte(goodState)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		old, new string
		want     error
	}{
		{"spoor-keyring", "spoor-iam", ErrDamaged}, {`"version":1`, `"version":2`, ErrNewer}, {`"version":1`, `"version":0`, ErrDamaged}, {`"keys"`, `"x":1,"keys"`, ErrDamaged},
		{"0123456789abcdef", "0123", ErrDamaged}, {`"masterKey":"0123456789abcdef",`, ``, ErrDamaged}, {`"root":"AA==",`, ``, ErrDamaged}, {`"own":"AA==",`, ``, ErrDamaged},
		{`"keys":[`, `"keys":[null,`, ErrDamaged}, {`"id":"1111`, `"id":"z111`, ErrDamaged}, {`"account":"1111`, `"account":"x111`, ErrDamaged}, {`"region":"eu-west-1","created"`, `"region":"EU","created"`, ErrDamaged},
		{`"enabled":true`, `"enabled":true,"deletion":"2026-03-10T08:00:00Z"`, ErrDamaged}, {`\"Action\"`, `\"Actions\"`, ErrDamaged}, {`"rotation":365`, `"rotation":3`, ErrDamaged},
		{`"rotation":365,`, ``, ErrDamaged}, {`,"next":"2027-03-09T08:00:00Z"`, ``, ErrDamaged}, {`"key":"a"`, `"key":"aws:a"`, ErrDamaged}, {`00aa"`, `00AA"`, ErrDamaged}, {`00aa"`, `aa"`, ErrDamaged},
		{`"sealed":"AAAA`, `"sealed":"`, ErrDamaged}, {`"name":"x"`, `"name":"?"`, ErrDamaged}, {`"key":"1111`, `"key":"2222`, ErrDamaged}, {`"account":"111122223333","region":"eu-west-1","name"`, `"account":"444455556666","region":"eu-west-1","name"`, ErrDamaged},
	} {
		if !strings.Contains(goodState, c.old) {
			t.Fatalf("%s is not there", c.old)
		}
		_, err := decodeState([]byte(strings.Replace(goodState, c.old, c.new, 1)))
		is(t, c.new+" for "+c.old, err, c.want)
	}
}

// FuzzState: no text makes the reader panic, and what it accepts it writes and reads again the same.
func FuzzState(f *testing.F) {
	f.Add([]byte(goodState))
	f.Add([]byte(`{"format":"spoor-keyring","version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		one, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeState(one)
		if err != nil {
			t.Fatalf("%s becomes %s: %v", b, one, err)
		}
		if two, err := again.encode(); err != nil || !bytes.Equal(one, two) {
			t.Fatalf("%s becomes %s: %v", one, two, err)
		}
	})
}

// FuzzUnwrap: nothing that this ring did not make opens, and nothing makes it panic.
func FuzzUnwrap(f *testing.F) {
	r := open(f, f.TempDir(), Options{})
	k := create(f, r)
	d, err := r.GenerateDataKey(f.Context(), k.ARN, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.Wrapped)
	f.Add(appendExternal(nil, k.ARN, d.Wrapped))
	f.Add(d.Wrapped[:blobHead])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := r.Unwrap(context.Background(), b, nil)
		if err != nil {
			if !errors.Is(err, ErrCiphertext) && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(b, d.Wrapped) || !bytes.Equal(got.Plaintext, d.Plaintext) {
			t.Fatalf("%x opens", b)
		}
	})
}

func BenchmarkGenerateDataKey(b *testing.B) {
	r := open(b, b.TempDir(), Options{})
	k := create(b, r)
	with := map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"}
	for b.Loop() {
		if _, err := r.GenerateDataKey(b.Context(), k.ARN, with); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDetach: the master key can be moved away from the ring and back beside it, and a move that was cut short is finished.
func TestDetach(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	path := filepath.Join(dir, MasterFile)
	r := open(t, dir, Options{})
	k := create(t, r)
	d, err := r.GenerateDataKey(ctx, k.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := seal.ReadMaster(path)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := seal.Random()
	is(t, "a short one", r.Detach(ctx, elsewhere[1:]), ErrInvalid)
	is(t, "detach", r.Detach(ctx, elsewhere), nil)
	if exists(path) {
		t.Error("the old master key is left")
	}
	is(t, "use", second(r.Unwrap(ctx, d.Wrapped, nil)), nil)
	is(t, "rewrap without one", r.Rewrap(ctx, nil), ErrInvalid)
	is(t, "close", r.Close(), nil)
	is(t, "without it", second(Open(ctx, dir, Options{Account: account, Region: region})), ErrMaster)

	// A crash before the old one was removed.
	is(t, "write", seal.WriteMaster(path, first), nil)
	is(t, "the old one beside it", second(Open(ctx, dir, Options{Account: account, Region: region})), ErrMaster)
	r = open(t, dir, Options{Master: elsewhere})
	before, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		t.Fatal(err)
	}
	is(t, "again", r.Detach(ctx, elsewhere), nil)
	if after, err := os.ReadFile(filepath.Join(dir, StateFile)); exists(path) || err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old master key is left, or the state was written: %v", err)
	}

	// Back: the file beside the ring holds it already, and stays.
	beside := seal.Random()
	is(t, "write", seal.WriteMaster(path, beside), nil)
	is(t, "back", r.Detach(ctx, beside), nil)
	is(t, "close", r.Close(), nil)
	r = open(t, dir, Options{})
	is(t, "use", second(r.Unwrap(ctx, d.Wrapped, nil)), nil)
	is(t, "closed", func() error { is(t, "close", r.Close(), nil); return r.Detach(ctx, elsewhere) }(), ErrClosed)
	if !exists(path) {
		t.Error("after an error the master key is gone")
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	is(t, "none", second(Look(dir, "", time.Now())), os.ErrNotExist)
	c := &clock{now: time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)}
	r := open(t, dir, Options{Now: c.Now})
	k := create(t, r)
	other, _, err := r.Create(Ref{Account: "000000000001", Region: region}, Spec{})
	if err != nil {
		t.Fatal(err)
	}
	is(t, "pending", last(r.ScheduleDeletion(k.ARN, 7)), nil)
	for _, step := range []struct {
		days int
		want []string
	}{{0, []string{other.ID, k.ID}}, {7, []string{other.ID}}} {
		c.days(step.days)
		list, err := Look(dir, "", c.Now())
		var got []string
		for _, l := range list {
			got = append(got, l.ID)
		}
		if err != nil || !slices.Equal(got, step.want) {
			t.Errorf("after %d days: %q, %v", step.days, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, StateFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	is(t, "damaged", second(Look(dir, "", c.Now())), ErrDamaged)
}
