package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	// HeaderKMSKey and HeaderKMSContext are headers of requests to [Local.Transport] that write an object or begin an upload: the
	// ARN of the key that seals it, and the encryption context as base64 of JSON, which may be missing. [NoKMSKey] in place of an
	// ARN overrules the encryption of the bucket. Such headers of clients must not get this far: every name with the prefix
	// [HeaderReserved] is refused in front of the gateway.
	HeaderKMSKey     = "X-Amz-Meta-Spoor-Kms-Key"
	HeaderKMSContext = "X-Amz-Meta-Spoor-Kms-Context"
	HeaderReserved   = "X-Amz-Meta-Spoor-"
	NoKMSKey         = "AES256"

	headerSealing = "X-Amz-Meta-Spoor-Sealing"
	gatewayUser   = "spoor"
	gatewayRegion = "us-east-1"
	maxSocket     = 100 // bytes of a path that a socket can have everywhere
	maxContext    = 8 << 10
	connections   = 4096
)

// gateway serves the store in S3's protocol on a socket.
type gateway struct {
	server *s3api.S3ApiServer
	creds  aws.Credentials
	socket string
	temp   string // folder that was made for the socket
	done   chan error
	client *http.Transport
	store  *store
}

// openGateway starts the gateway of a folder.
func openGateway(ctx context.Context, dir string, s *store) (_ *gateway, err error) {
	g := &gateway{store: s, done: make(chan error, 1)}
	if g.socket, err = filepath.Abs(filepath.Join(dir, "gateway.sock")); err != nil {
		return nil, err
	}
	if len(g.socket) > maxSocket {
		if g.temp, err = os.MkdirTemp("", "spoor-"); err != nil {
			return nil, err
		}
		g.socket = filepath.Join(g.temp, "s3.sock")
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	g.creds = aws.Credentials{AccessKeyID: gatewayUser, SecretAccessKey: hex.EncodeToString(secret)}
	iam := auth.NewIAMServiceSingle(auth.Account{Access: g.creds.AccessKeyID, Secret: g.creds.SecretAccessKey, Role: auth.RoleAdmin})
	ready := make(chan struct{})
	g.server, err = s3api.New(s, middlewares.RootUserConfig{Access: g.creds.AccessKeyID, Secret: g.creds.SecretAccessKey}, gatewayRegion, iam, nil, nil, nil, nil,
		s3api.WithConcurrencyLimiter(connections, connections), s3api.WithMpMaxParts(10000), s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithSocketPerm(0o600),
		s3api.WithOnListen(func() { close(ready) }))
	if err != nil {
		return nil, err
	}
	g.client = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", g.socket)
		},
		DisableCompression: true, MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, ExpectContinueTimeout: time.Second,
		WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}
	go func() { g.done <- g.server.ServeMultiPort([]string{g.socket}) }()
	select {
	case <-ready:
	case err := <-g.done: // it could not listen
		g.done <- err
		return nil, errors.Join(fmt.Errorf("start the gateway: %w", err), g.close())
	}
	// It listens, but only what serves can be told to end: it does when it has answered.
	if err := g.ask(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the gateway: %w", err), g.close())
	}
	return g, nil
}

// ask waits for any answer.
func (g *gateway) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodHead, "http://gateway/", http.NoBody)
	if err != nil {
		return err
	}
	res, err := g.RoundTrip(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (g *gateway) close() error {
	g.client.CloseIdleConnections()
	err := g.server.ShutDown()
	<-g.done // tells that its listener was closed
	if rerr := os.Remove(g.socket); rerr != nil && !isAbsent(rerr) {
		err = errors.Join(err, rerr)
	}
	if g.temp != "" {
		err = errors.Join(err, os.RemoveAll(g.temp))
	}
	return err
}

// signedHeaders are those that the gateway's signature covers, beside the ones that begin with x-amz-.
var signedHeaders = [...]string{"Content-Md5", "Content-Type"}

// RoundTrip implements [http.RoundTripper].
func (g *gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	drop, err := g.sealing(r)
	if err == nil {
		err = g.sign(r)
	}
	if err != nil {
		drop()
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	res, err := g.client.RoundTrip(r)
	drop() // the gateway answers when it has the object
	return res, err
}

// sealing replaces what says how an object is sealed by a token, which any size of it fits.
func (g *gateway) sealing(r *http.Request) (drop func(), err error) {
	key := r.Header.Get(HeaderKMSKey)
	encoded := r.Header.Get(HeaderKMSContext)
	for name := range r.Header {
		if strings.HasPrefix(http.CanonicalHeaderKey(name), HeaderReserved) {
			r.Header.Del(name)
		}
	}
	drop = func() {}
	if key == "" {
		return drop, nil
	}
	how := &sealing{}
	if key != NoKMSKey {
		how.key = key
		if encoded != "" {
			if how.context, err = ParseContext(encoded); err != nil {
				return drop, err
			}
		}
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	token := hex.EncodeToString(b)
	g.store.sealings.Store(token, how)
	r.Header.Set(headerSealing, token)
	return func() { g.store.sealings.Delete(token) }, nil
}

// ParseContext reads an encryption context as headers have it: base64 of JSON.
func ParseContext(encoded string) (map[string]string, error) {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) > maxContext {
		return nil, fmt.Errorf("the encryption context is not base64 of at most %d bytes", maxContext)
	}
	var c map[string]string
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("the encryption context is not a JSON object of texts: %w", err)
	}
	return c, nil
}

// FormatContext gives an encryption context as headers have it.
func FormatContext(c map[string]string) string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // texts always have a form
	}
	return base64.StdEncoding.EncodeToString(b)
}

// sign signs a request as the gateway's user.
func (g *gateway) sign(r *http.Request) error {
	r.URL.Scheme, r.URL.Host, r.Host = "http", "gateway", "gateway"
	r.URL.RawPath = escapePath(r.URL.Path)
	for _, h := range []string{"Authorization", "X-Amz-Date", "Date", "X-Amz-Security-Token", "X-Amz-Expected-Bucket-Owner", "Connection", "X-Forwarded-For"} {
		r.Header.Del(h)
	}
	const payload = "X-Amz-Content-Sha256"
	hash := r.Header.Get(payload)
	if hash == "" {
		hash = "UNSIGNED-PAYLOAD"
		if r.Body == nil || r.Body == http.NoBody {
			sum := sha256.Sum256(nil)
			hash = hex.EncodeToString(sum[:])
		}
		r.Header.Set(payload, hash)
	}
	if strings.HasPrefix(hash, "STREAMING-AWS4-") {
		return fmt.Errorf("a body of the form %s cannot be signed again", hash)
	}
	c := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{}, ContentLength: r.ContentLength}
	for name, v := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			c.Header[name] = v
		}
	}
	for _, name := range signedHeaders {
		if v := r.Header.Values(name); len(v) > 0 {
			c.Header[name] = v
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(r.Context(), g.creds, c, hash, "s3", gatewayRegion, time.Now()); err != nil {
		return fmt.Errorf("sign for the gateway: %w", err)
	}
	for _, name := range []string{"Authorization", "X-Amz-Date"} {
		r.Header.Set(name, c.Header.Get(name))
	}
	return nil
}

// escapePath escapes all but unreserved characters and slashes, as signatures of S3 want it.
func escapePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c == '/' || c == '-' || c == '_' || c == '.' || c == '~' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
