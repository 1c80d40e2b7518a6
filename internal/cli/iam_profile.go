package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"spoor/internal/durable"
	"spoor/internal/iam"
)

// awsEndpoint is where AWS's own clients reach an installation.
type awsEndpoint struct {
	URL    string
	Region string
}

// keyAccess is all that a client of AWS needs.
type keyAccess struct {
	key      iam.AccessKey
	secret   string
	endpoint awsEndpoint
}

var (
	keyIDForm  = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
	secretForm = regexp.MustCompile(`^[A-Za-z0-9/+=]{16,128}$`)
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9_./:+=@,-]+$`)
	// profileForm is what needs no quotes in the files of AWS's clients, nor in a shell.
	profileForm = regexp.MustCompile(`^[A-Za-z0-9_.@+-]{1,64}$`)
)

// checkKey refuses what would be something else in a shell or in the files of AWS's clients: it may come from a server.
func checkKey(k iam.AccessKey, secret string) error {
	if !keyIDForm.MatchString(k.ID) || !secretForm.MatchString(secret) {
		return errors.New("the access key that was made has not the form of one; nothing was written")
	}
	return nil
}

func (ep awsEndpoint) check() error {
	u, err := url.Parse(ep.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || !plainWord.MatchString(ep.URL) {
		return usagef("%.200q is no address of an endpoint: want one such as https://spoor.example.com:4599", ep.URL)
	}
	if !regionForm.MatchString(ep.Region) {
		return usagef("%.80q is no Region", ep.Region)
	}
	return nil
}

// exports are lines for a shell.
func (k keyAccess) exports() string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"AWS_ACCESS_KEY_ID", k.key.ID}, {"AWS_SECRET_ACCESS_KEY", k.secret}, {"AWS_DEFAULT_REGION", k.endpoint.Region}, {"AWS_ENDPOINT_URL", k.endpoint.URL},
	} {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], shellQuote(v[1]))
	}
	return b.String()
}

// credentials and settings are the sections of a profile, for the two files of AWS's clients.
func (k keyAccess) credentials(profile string) string {
	return fmt.Sprintf("[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", profile, k.key.ID, k.secret)
}

func (k keyAccess) settings(profile string) string {
	return fmt.Sprintf("[%s]\nregion = %s\nendpoint_url = %s\n", configSection(profile), k.endpoint.Region, k.endpoint.URL)
}

// configSection is what the section of a profile is called in the configuration of AWS's clients.
func configSection(profile string) string {
	if profile == "default" {
		return profile
	}
	return "profile " + profile
}

// awsFiles are the files of AWS's clients.
type awsFiles struct{ credentials, config string }

// findAWSFiles finds them as AWS's clients do.
func findAWSFiles() (awsFiles, error) {
	f := awsFiles{os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), os.Getenv("AWS_CONFIG_FILE")}
	if f.credentials != "" && f.config != "" {
		return f, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return f, usagef("there is no home folder for the profile: set AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE")
	}
	if f.credentials == "" {
		f.credentials = filepath.Join(home, ".aws", "credentials")
	}
	if f.config == "" {
		f.config = filepath.Join(home, ".aws", "config")
	}
	return f, nil
}

// maxProfiles bounds a file of AWS's clients.
const maxProfiles = 4 << 20

// profileFile is one of them, as it is.
type profileFile struct {
	path string // what is replaced, behind links
	text string
	mode fs.FileMode
}

func readProfiles(path string) (profileFile, error) {
	f := profileFile{path: path, mode: 0o600}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		f.path = real
	}
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	text, err := io.ReadAll(io.LimitReader(in, maxProfiles+1))
	info, infoErr := in.Stat()
	if err = errors.Join(err, infoErr, in.Close()); err != nil {
		return f, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxProfiles {
		return f, fmt.Errorf("%s is larger than %d bytes", path, maxProfiles)
	}
	f.text, f.mode = string(text), info.Mode().Perm()
	return f, nil
}

func (f profileFile) write() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	if err := durable.WriteFile(f.path, []byte(f.text), f.mode); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// profileWriter puts a profile into the files of AWS's clients.
type profileWriter struct {
	name                string
	credentials, config profileFile
}

// newProfileWriter reads the files. A profile that is there is an error, unless force is set.
func newProfileWriter(name string, force bool) (*profileWriter, error) {
	if !profileForm.MatchString(name) {
		return nil, usagef("--write-profile %.80q: want up to 64 letters, digits or _.@+-", name)
	}
	files, err := findAWSFiles()
	if err != nil {
		return nil, err
	}
	w := &profileWriter{name: name}
	if w.credentials, err = readProfiles(files.credentials); err != nil {
		return nil, err
	}
	if w.config, err = readProfiles(files.config); err != nil {
		return nil, err
	}
	if force {
		return w, nil
	}
	if hasSection(w.credentials.text, name) {
		return nil, usagef("%s has a profile %s already; --force replaces it", w.credentials.path, name)
	}
	if hasSection(w.config.text, configSection(name)) {
		return nil, usagef("%s has a profile %s already; --force replaces it", w.config.path, name)
	}
	return w, nil
}

// write writes the profile: first where it is reached, then what it proves itself with, so that the key never goes elsewhere.
func (w *profileWriter) write(k keyAccess) error {
	w.config.text = setSection(w.config.text, configSection(w.name), k.settings(w.name))
	w.credentials.text = setSection(w.credentials.text, w.name, k.credentials(w.name))
	w.credentials.mode &= 0o600
	if err := w.config.write(); err != nil {
		return err
	}
	return w.credentials.write()
}

// sectionName gives the name in the head of a section, with single spaces.
func sectionName(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	name, _, ok := strings.Cut(line[1:], "]")
	if !ok {
		return "", false
	}
	return strings.Join(strings.Fields(strings.NewReplacer(`"`, " ", "'", " ").Replace(name)), " "), true
}

func hasSection(text, name string) bool {
	for line := range strings.Lines(text) {
		if got, ok := sectionName(line); ok && got == name {
			return true
		}
	}
	return false
}

// setSection puts a section in place of those of its name, or at the end. Everything else stays as it is, also the remarks
// before the section that follows.
func setSection(text, name, section string) string {
	var out strings.Builder
	var held []string // remarks and empty lines of a section that goes, which may belong to the next one
	inside, written := false, false
	for line := range strings.Lines(text) {
		if got, ok := sectionName(line); ok {
			if got == name {
				if !written {
					out.WriteString(section)
					written = true
				}
				inside, held = true, nil
				continue
			}
			if inside {
				out.WriteString(strings.Join(held, ""))
			}
			inside, held = false, nil
		}
		if !inside {
			out.WriteString(line)
			continue
		}
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			held = append(held, line)
		} else {
			held = nil
		}
	}
	out.WriteString(strings.Join(held, ""))
	if written {
		return out.String()
	}
	if text != "" {
		if !strings.HasSuffix(text, "\n") {
			out.WriteString("\n")
		}
		out.WriteString("\n")
	}
	out.WriteString(section)
	return out.String()
}
