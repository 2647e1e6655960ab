package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestGitOnGitea reads from a private repository of a real forge, and pushes to it, over HTTP and over ssh: commits, and a file in Git LFS.
func TestGitOnGitea(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(freeAddress(t))
	g := gitea(t, "[server]", "DISABLE_SSH = false", "START_SSH_SERVER = true", "BUILTIN_SSH_SERVER_USER = git", "SSH_DOMAIN = 127.0.0.1",
		"SSH_LISTEN_HOST = 127.0.0.1", "SSH_LISTEN_PORT = "+port, "SSH_PORT = "+port, "LFS_START_SERVER = true")
	repo := g.Repo(t, "large")
	g.API(t, "PATCH", "/repos/acme/large", map[string]any{"private": true}, nil)
	content := strings.Repeat("the file itself\n", 1000)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	uploadLarge(t, repo, sum, content)
	head := repo.Push(t, "main", "main", map[string]string{
		"k8s/big.bin": fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", sum, len(content)),
	})
	key := sshKey(t, g)
	over := map[string]git.Options{
		repo.URL: testworld.GitOptions(t, "LOCKAGE_GIT_TOKEN="+g.Admin.Token),
		"ssh://git@127.0.0.1:" + port + "/acme/large.git": testworld.GitOptions(t,
			"GIT_SSH_COMMAND=ssh -F none -i "+key+" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"),
	}
	for url, opts := range over {
		remote, err := git.OpenRemote(t.Context(), url, opts)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := remote.Snapshot(t.Context(), git.Hash(head))
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if data, err := fs.ReadFile(snapshot.FS(t.Context()).Whole(), "k8s/big.bin"); err != nil || string(data) != content {
			t.Errorf("%s: a file of %d bytes, %v", url, len(data), err)
		}
		scheme, _, _ := strings.Cut(url, ":")
		branch := "by/größe/" + scheme
		draft, err := remote.Draft(t.Context(), git.Hash(repo.Push(t, branch, "main", nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := draft.Put(t.Context(), "k8s", map[string][]byte{"by.txt": []byte(url)}); err != nil {
			t.Fatal(err)
		}
		if _, err := draft.Commit(git.NewCommit{By: git.Signature{Name: "lockage", Email: "lockage@example.com"}, When: time.Unix(1_800_000_000, 0), Message: "Push"}); err != nil {
			t.Fatal(err)
		}
		if err := remote.Push(t.Context(), git.Update{Branch: branch, Draft: draft}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got := repo.Head(t, branch); got != string(draft.Head()) {
			t.Errorf("%s: the branch is at %q", url, got)
		}
	}
}

// sshKey makes a key of the administrator, and returns its file.
func sshKey(t *testing.T, g *giteaServer) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	known, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	g.API(t, "POST", "/user/keys", map[string]any{"title": "test", "key": string(ssh.MarshalAuthorizedKey(known))}, nil)
	file := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// uploadLarge stores a file in the repository's Git LFS, as git lfs push does.
func uploadLarge(t *testing.T, repo *giteaRepo, sum, content string) {
	t.Helper()
	send := func(method, url, kind string, header map[string]string, body []byte) []byte {
		request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(repo.Server.Admin.Name, repo.Server.Admin.Token)
		request.Header.Set("Accept", "application/vnd.git-lfs+json")
		request.Header.Set("Content-Type", kind)
		for key, value := range header {
			request.Header.Set(key, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s %s %v", method, url, response.Status, answer, err)
		}
		return answer
	}
	asked := fmt.Sprintf(`{"operation":"upload","transfers":["basic"],"objects":[{"oid":"%s","size":%d}]}`, sum, len(content))
	var answer struct {
		Objects []struct {
			Actions map[string]struct {
				Href   string
				Header map[string]string
			}
		}
	}
	if err := json.Unmarshal(send(http.MethodPost, repo.URL+"/info/lfs/objects/batch", "application/vnd.git-lfs+json", nil, []byte(asked)), &answer); err != nil {
		t.Fatal(err)
	}
	to := answer.Objects[0].Actions["upload"]
	send(http.MethodPut, to.Href, "application/octet-stream", to.Header, []byte(content))
}
