package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// DockerCredentials reads credentials as Docker does: the config.json of DOCKER_CONFIG or ~/.docker with its credsStore and
// credHelpers. Registries that are not in it are looked up in the files of Podman and Skopeo: REGISTRY_AUTH_FILE and
// containers/auth.json below XDG_RUNTIME_DIR, as getenv has them.
func DockerCredentials(getenv func(string) string) (auth.CredentialFunc, error) {
	docker, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Docker's configuration: %w", err)
	}
	var others []credentials.Store
	files := []string{getenv("REGISTRY_AUTH_FILE")}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	for _, file := range files {
		if _, err := os.Stat(file); file == "" || err != nil {
			continue
		}
		store, err := credentials.NewStore(file, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("read credentials from %s: %w", file, err)
		}
		others = append(others, store)
	}
	return credentials.Credential(credentials.NewStoreWithFallbacks(docker, others...)), nil
}

// dockerCredentials opens Docker's configuration when a registry first asks: layouts and anonymous registries never do.
func dockerCredentials(ctx context.Context, host string) (auth.Credential, error) {
	find, err := DockerCredentials(os.Getenv)
	if err != nil {
		return auth.EmptyCredential, err
	}
	// A helper that hangs is killed with ctx. Its own children may keep its output open, and are not waited for.
	type answer struct {
		cred auth.Credential
		err  error
	}
	found := make(chan answer, 1)
	go func() {
		cred, err := find(ctx, host)
		found <- answer{cred, err}
	}()
	select {
	case a := <-found:
		return a.cred, a.err
	case <-ctx.Done():
		return auth.EmptyCredential, context.Cause(ctx)
	}
}

// remember keeps found credentials: a helper may take half a second and is asked again for every token.
func remember(find auth.CredentialFunc) auth.CredentialFunc {
	var mu sync.Mutex
	known := map[string]auth.Credential{}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		mu.Lock()
		defer mu.Unlock()
		if cred, ok := known[host]; ok {
			return cred, nil
		}
		cred, err := find(ctx, host)
		if err != nil {
			return auth.EmptyCredential, credentialError{host: host, err: err}
		}
		known[host] = cred
		return cred, nil
	}
}

// credentialError is an error of a credential store, as opposed to a registry's refusal.
type credentialError struct {
	host string
	err  error
}

func (e credentialError) Error() string {
	return fmt.Sprintf("credentials for %s: %v", e.host, e.err)
}

func (e credentialError) Unwrap() error { return e.err }
