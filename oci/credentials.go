package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/origin"
)

// Credential is what a registry accepts: a user and password, or a token.
type Credential = auth.Credential

// CredentialFunc finds the credential for a repository "host[:port]/path", or for a host alone. It is the zero Credential if none
// is known.
type CredentialFunc func(ctx context.Context, name string) (Credential, error)

const (
	// maxCredentialFile bounds a file of credentials, in bytes.
	maxCredentialFile = 4 << 20
	// dockerHubServer is the name under which Docker keeps credentials for Docker Hub.
	dockerHubServer = "https://index.docker.io/v1/"
)

// authFile is a file of credentials, of Docker or of Podman.
type authFile struct {
	name        string
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth"` // base64 of USER:PASSWORD
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
	Username      string `json:"username"`
	Password      string `json:"password"`
}

// DockerCredentials reads credentials as Docker and Podman do: the config.json of DOCKER_CONFIG or ~/.docker with its credsStore and
// credHelpers, then REGISTRY_AUTH_FILE, and containers/auth.json below XDG_RUNTIME_DIR and below XDG_CONFIG_HOME or ~/.config, as getenv
// has them. A key of auths is a host, or a host and a path that counts for the repositories at and below it: the longest one is used,
// and a key with another path never.
func DockerCredentials(getenv func(string) string) (CredentialFunc, error) {
	var files []*authFile
	for _, name := range credentialFiles(getenv) {
		file, err := readAuthFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	ofHost := remember(func(ctx context.Context, host string) (Credential, error) {
		for _, file := range files {
			if cred, err := file.ofHost(ctx, host); err != nil || cred != auth.EmptyCredential {
				return cred, err
			}
		}
		return Credential{}, nil
	})
	return func(ctx context.Context, name string) (Credential, error) {
		host, path, _ := strings.Cut(name, "/")
		if cred, err := byPath(files, host, path); err != nil || cred != auth.EmptyCredential {
			return cred, err
		}
		return ofHost(ctx, host)
	}, nil
}

func credentialFiles(getenv func(string) string) []string {
	var names []string
	home, err := os.UserHomeDir()
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		names = append(names, filepath.Join(dir, "config.json"))
	} else if err == nil {
		names = append(names, filepath.Join(home, ".docker", "config.json"))
	}
	if file := getenv("REGISTRY_AUTH_FILE"); file != "" {
		names = append(names, file)
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		names = append(names, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		names = append(names, filepath.Join(dir, "containers", "auth.json"))
	} else if err == nil {
		names = append(names, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	return names
}

// readAuthFile reads a file; one that is missing or empty has no credentials.
func readAuthFile(name string) (*authFile, error) {
	file := &authFile{name: name}
	data, err := bounded.File(name, maxCredentialFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(strings.TrimSpace(string(data))) == 0 {
		return file, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if err := json.Unmarshal(data, file); err != nil {
		return nil, fmt.Errorf("read credentials: %s: %w", name, err)
	}
	return file, nil
}

// byPath returns the credential under the longest key with a path at or above that of the repository.
func byPath(files []*authFile, host, path string) (Credential, error) {
	longest, best := 0, Credential{}
	for _, file := range files {
		for _, key := range slices.Sorted(maps.Keys(file.Auths)) {
			keyHost, keyPath := splitKey(key)
			if len(keyPath) <= longest || !sameRegistry(keyHost, host) || keyPath != path && !strings.HasPrefix(path, keyPath+"/") {
				continue
			}
			cred, err := file.decode(key)
			if err != nil {
				return Credential{}, err
			}
			if cred != auth.EmptyCredential {
				longest, best = len(keyPath), cred
			}
		}
	}
	return best, nil
}

// ofHost returns the credential for a whole host: of its helper, of the helper for all hosts, or of the file.
func (f *authFile) ofHost(ctx context.Context, host string) (Credential, error) {
	names := []string{host, origin.Host(schemeOf(host), host)}
	if sameRegistry(host, dockerHub) {
		names = []string{dockerHubServer}
	}
	helper := f.CredsStore
	for _, key := range slices.Sorted(maps.Keys(f.CredHelpers)) {
		if keyHost, path := splitKey(key); path == "" && sameRegistry(keyHost, host) {
			helper, names = f.CredHelpers[key], append([]string{key}, names...)
			break
		}
	}
	if helper != "" {
		store := credentials.NewNativeStore(helper)
		for i, name := range names {
			if slices.Contains(names[:i], name) {
				continue
			}
			if cred, err := store.Get(ctx, name); err != nil || cred != auth.EmptyCredential {
				return cred, err
			}
		}
	}
	if _, exact := f.Auths[host]; exact {
		if cred, err := f.decode(host); err != nil || cred != auth.EmptyCredential {
			return cred, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.Auths)) {
		if keyHost, path := splitKey(key); path != "" || !sameRegistry(keyHost, host) {
			continue
		}
		if cred, err := f.decode(key); err != nil || cred != auth.EmptyCredential {
			return cred, err
		}
	}
	return auth.EmptyCredential, nil
}

func (f *authFile) decode(key string) (Credential, error) {
	e := f.Auths[key]
	cred := Credential{Username: e.Username, Password: e.Password, RefreshToken: e.IdentityToken, AccessToken: e.RegistryToken}
	if e.Auth == "" {
		return cred, nil
	}
	raw, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Credential{}, fmt.Errorf("%s: the auth of %q is not the base64 form of USER:PASSWORD", f.name, key)
	}
	cred.Username, cred.Password = user, password
	return cred, nil
}

// splitKey splits a key of auths into host and path. Docker's older keys are URLs of a host's API.
func splitKey(key string) (host, path string) {
	scheme, rest, isURL := strings.Cut(key, "://")
	if !isURL {
		rest = scheme
	}
	host, path, _ = strings.Cut(rest, "/")
	path = strings.Trim(path, "/")
	if isURL && (path == "v1" || path == "v2") {
		path = ""
	}
	return host, path
}

// sameRegistry compares hosts, with or without a port, by what they mean.
func sameRegistry(a, b string) bool {
	return canonicalRegistry(a) == canonicalRegistry(b)
}

func canonicalRegistry(host string) string {
	host = origin.Host(schemeOf(host), host)
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return dockerHub
	}
	return host
}

// schemeOf returns the scheme by which a registry is reached.
func schemeOf(host string) string {
	if loopback.Is(host) {
		return "http"
	}
	return "https"
}

// dockerCredentials opens Docker's configuration when a registry first asks: layouts never do.
func dockerCredentials() CredentialFunc {
	open := sync.OnceValues(func() (CredentialFunc, error) { return DockerCredentials(os.Getenv) })
	return func(ctx context.Context, name string) (Credential, error) {
		find, err := open()
		if err != nil {
			return Credential{}, err
		}
		// A helper that hangs is killed with ctx. Its own children may keep its output open, and are not waited for.
		type answer struct {
			cred Credential
			err  error
		}
		found := make(chan answer, 1)
		go func() {
			cred, err := find(ctx, name)
			found <- answer{cred, err}
		}()
		select {
		case a := <-found:
			return a.cred, a.err
		case <-ctx.Done():
			return Credential{}, context.Cause(ctx)
		}
	}
}

// remember keeps found credentials: a helper may take half a second, and all repositories of a host ask it.
func remember(find CredentialFunc) CredentialFunc {
	var mu sync.Mutex
	known := map[string]Credential{}
	return func(ctx context.Context, name string) (Credential, error) {
		mu.Lock()
		defer mu.Unlock()
		if cred, ok := known[name]; ok {
			return cred, nil
		}
		cred, err := find(ctx, name)
		if err == nil {
			known[name] = cred
		}
		return cred, err
	}
}

// credentialError is an error of a credential store, as opposed to a registry's refusal.
type credentialError struct {
	name string
	err  error
}

func (e credentialError) Error() string {
	return fmt.Sprintf("credentials for %s: %v", e.name, e.err)
}

func (e credentialError) Unwrap() error { return e.err }
