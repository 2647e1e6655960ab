package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// sshServer runs git's services for users with the key in the agent. It changes the environment, where go-git looks for
// both agent and known hosts.
func sshServer(t *testing.T) (address string) {
	t.Helper()
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		t.Fatal(err)
	}
	_, userKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	user, err := ssh.NewSignerFromKey(userKey)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go accept(listener, func(conn net.Conn) { serveSSH(conn, config) })

	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: &userKey}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go accept(socket, func(conn net.Conn) { _ = agent.ServeAgent(keys, conn) })
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{listener.Addr().String()}, host.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "s"))
	t.Setenv("SSH_KNOWN_HOSTS", known)
	return listener.Addr().String()
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				if r.Type != "exec" {
					_ = r.Reply(false, nil)
					continue
				}
				var command struct{ Line string }
				_ = ssh.Unmarshal(r.Payload, &command)
				_ = r.Reply(true, nil)
				// The client's end of input does not always arrive: nothing waits for it.
				cmd := exec.Command("/bin/sh", "-c", command.Line)
				cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
				stdin, _ := cmd.StdinPipe()
				go func() { _, _ = io.Copy(stdin, channel); _ = stdin.Close() }()
				code := uint32(0)
				if cmd.Run() != nil {
					code = 1
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
				_ = channel.Close()
			}
		}()
	}
}

//nolint:paralleltest // it changes the environment
func TestPushOverSSH(t *testing.T) {
	dir, head := testworld.Checkout(t, chart)
	root := t.TempDir()
	testworld.Git(t, root, "clone", "-q", "--bare", dir, "repo.git")
	bare := filepath.Join(root, "repo.git")
	url := "ssh://git@" + sshServer(t) + bare
	remote := testworld.Remote(t, url)

	d := draft(t, remote, "main")
	orphan := draft(t, remote, "stage/new")
	first := replace(t, d, "k8s/helm", map[string][]byte{"x.yaml": []byte("x\n")})
	second := replace(t, orphan, "a", map[string][]byte{"y.yaml": []byte("y\n")})
	if err := remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}, git.Update{Branch: "stage/new", Draft: orphan}); err != nil {
		t.Fatal(err)
	}
	if got := testworld.Git(t, bare, "for-each-ref", "--format=%(objectname)"); got != string(first)+"\n"+string(second) {
		t.Errorf("refs %s", got)
	}
	if got := testworld.Git(t, bare, "rev-parse", "main~1"); got != string(head) {
		t.Errorf("parent %s", got)
	}
	testworld.Git(t, bare, "fsck", "--strict", "--no-dangling")

	testworld.Hook(t, bare, "update", "echo 'by pull request only' >&2\nexit 1")
	again := draft(t, remote, "main")
	replace(t, again, "k8s/helm", map[string][]byte{"x.yaml": []byte("z\n")})
	err := remote.Push(t.Context(), git.Update{Branch: "main", Draft: again})
	wantError(t, err, "by pull request only", "hook declined")
	if strings.Contains(err.Error(), git.ErrStale.Error()) {
		t.Errorf("a refusal taken for a lost race: %v", err)
	}

	empty := filepath.Join(root, "empty.git")
	testworld.Git(t, root, "init", "-q", "--bare", empty)
	to := openRemote(t, strings.Replace(url, bare, empty, 1), testworld.GitOptions(t))
	d, err = to.Draft(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	replace(t, d, "a", map[string][]byte{"y.yaml": []byte("y\n")})
	if err := to.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
		t.Error(err)
	}
}
