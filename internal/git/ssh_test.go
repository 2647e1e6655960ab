package git_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// sshServer runs commands, in a home folder of its own, for users with the key.
type sshServer struct {
	addr, home string
	known      string                 // file of known hosts
	key        string                 // file of the user's key
	agent      string                 // socket of an agent with the key
	protocol   atomic.Bool            // takes GIT_PROTOCOL
	lfs        atomic.Pointer[string] // what git-lfs-authenticate prints; nil for no such command

	mu    sync.Mutex
	lines []string // that were run
}

// environ is that of a user who has the key in the agent.
func (s *sshServer) environ() []string {
	return []string{"SSH_AUTH_SOCK=" + s.agent, "SSH_KNOWN_HOSTS=" + s.known}
}

func (s *sshServer) remote(t *testing.T, path string) *git.Remote {
	t.Helper()
	return openRemote(t, "ssh://git@"+s.addr+path, testworld.GitOptions(t, s.environ()...))
}

func (s *sshServer) ran() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func newSSHServer(t *testing.T) *sshServer {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed")
	}
	s := &sshServer{home: t.TempDir()}
	s.protocol.Store(true)
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
	go accept(listener, func(conn net.Conn) { s.serve(conn, config) })
	s.addr = listener.Addr().String()

	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: &userKey}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.agent = filepath.Join(dir, "s")
	socket, err := net.Listen("unix", s.agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go accept(socket, func(conn net.Conn) { _ = agent.ServeAgent(keys, conn) })
	block, err := ssh.MarshalPrivateKey(userKey, "")
	if err != nil {
		t.Fatal(err)
	}
	s.known, s.key = filepath.Join(dir, "known_hosts"), filepath.Join(dir, "id_ed25519")
	for name, data := range map[string][]byte{s.known: []byte(knownhosts.Line([]string{s.addr}, host.PublicKey()) + "\n"), s.key: pem.EncodeToMemory(block)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
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

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
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
		go s.session(channel, requests)
	}
}

func (s *sshServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	environ := append(os.Environ(), "HOME="+s.home)
	for r := range requests {
		switch r.Type {
		case "env":
			var variable struct{ Name, Value string }
			_ = ssh.Unmarshal(r.Payload, &variable)
			if s.protocol.Load() {
				environ = append(environ, variable.Name+"="+variable.Value)
			}
			_ = r.Reply(s.protocol.Load(), nil)
		case "exec":
			var command struct{ Line string }
			_ = ssh.Unmarshal(r.Payload, &command)
			_ = r.Reply(true, nil)
			s.mu.Lock()
			s.lines = append(s.lines, command.Line)
			s.mu.Unlock()
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{s.run(channel, environ, command.Line)}))
			_ = channel.Close()
		default:
			_ = r.Reply(false, nil)
		}
	}
}

// run runs a line of shell.
func (s *sshServer) run(channel ssh.Channel, environ []string, line string) uint32 {
	if lfs := s.lfs.Load(); lfs != nil && strings.HasPrefix(line, "git-lfs-authenticate ") {
		_, _ = io.WriteString(channel, *lfs)
		return 0
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = s.home, environ
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, _ := cmd.StdinPipe() // nothing waits for the client's end of input
	go func() { _, _ = io.Copy(stdin, channel); _ = stdin.Close() }()
	if err := cmd.Run(); err != nil {
		return 128
	}
	return 0
}

func TestPushOverSSH(t *testing.T) {
	t.Parallel()
	for _, protocol := range []bool{true, false} {
		s := newSSHServer(t)
		s.protocol.Store(protocol)
		dir, head := testworld.Checkout(t, chart)
		root := t.TempDir()
		testworld.Git(t, root, "clone", "-q", "--bare", dir, "repo.git")
		bare := filepath.Join(root, "repo.git")
		remote := s.remote(t, bare)

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
		if errors.Is(err, git.ErrStale) {
			t.Errorf("a refusal taken for a lost race: %v", err)
		}
		empty := filepath.Join(root, "empty.git")
		testworld.Git(t, root, "init", "-q", "--bare", empty)
		to := s.remote(t, empty)
		if tips, err := to.Tips(t.Context(), "main"); err != nil || len(tips) > 0 {
			t.Fatalf("tips of an empty repository: %v %v", tips, err)
		}
		if d, err = to.Draft(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		replace(t, d, "a", map[string][]byte{"y.yaml": []byte("y\n")})
		if err := to.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
			t.Error(err)
		}
	}
}

// TestReadOverSSH reads by version 2, which gives objects by id and filters, and by version 0, which gives less unless it is configured.
func TestReadOverSSH(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	testworld.Write(t, dir, map[string]string{"README.md": "second\n"})
	second := testworld.Commit(t, dir, "second")
	for _, protocol := range []bool{true, false} {
		for _, config := range [][]string{nil, full} {
			s := newSSHServer(t)
			s.protocol.Store(protocol)
			testworld.Git(t, s.home, "clone", "-q", "--bare", dir, "app.git")
			for _, setting := range config {
				key, value, _ := strings.Cut(setting, "=")
				testworld.Git(t, filepath.Join(s.home, "app.git"), "config", key, value)
			}
			remote := s.remote(t, "/~/app.git")
			if tip, name, err := remote.Tip(t.Context(), ""); err != nil || tip != second || name != "main" {
				t.Fatalf("tip %s %s %v", tip, name, err)
			}
			snapshot, err := remote.Snapshot(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := snapshot.FS(t.Context()).ReadFile("README.md"); err != nil || string(data) != "read me\n" {
				t.Errorf("%q %v", data, err)
			}
			if ok, err := remote.IsAncestor(t.Context(), first, second); err != nil || !ok {
				t.Errorf("ancestor: %v %v", ok, err)
			}
			_, err = remote.Snapshot(t.Context(), "1234567890123456789012345678901234567890")
			wantError(t, err, "1234567890123456789012345678901234567890", "pushed")
		}
	}
}

// TestSSHPaths opens a repository by each form of a path that git knows.
func TestSSHPaths(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	dir, head := testworld.Checkout(t, chart)
	testworld.Git(t, s.home, "clone", "-q", "--bare", dir, "it's here.git")
	host, port, _ := strings.Cut(s.addr, ":")
	config := gitConfig(t, "[core]\n sshCommand = ssh -p "+port+" -o UserKnownHostsFile="+s.known+"\n", s.environ()...)
	for _, url := range []string{
		"ssh://git@" + s.addr + "/~/it's%20here.git", "ssh://git@" + s.addr + s.home + "/it's%20here.git", "git@" + host + ":it's here.git", "git@" + host + ":~/it's here.git",
		"git@" + host + ":" + s.home + "/it's here.git", "[git@" + s.addr + "]:it's here.git", "git+ssh://git@" + s.addr + "/~/it's%20here.git",
	} {
		opts := testworld.GitOptions(t)
		opts.Environ = config
		if tip, _, err := openRemote(t, url, opts).Tip(t.Context(), "main"); err != nil || tip != head {
			t.Errorf("%s: %s %v; ran %q", url, tip, err, s.ran())
		}
	}
	for _, url := range []string{"ssh://-oProxyCommand=x/app.git", "-oProxyCommand=x:app.git", "ssh://-l@host/app.git", "git@host:-app.git", "ssh://host", "ssh:///app.git"} {
		if _, err := git.OpenRemote(t.Context(), url, testworld.GitOptions(t)); err == nil {
			t.Errorf("%s was opened", url)
		}
	}
}

// TestSSHCommand authenticates by what configuration and environment say, as git does.
func TestSSHCommand(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	dir, head := testworld.Checkout(t, chart)
	testworld.Git(t, s.home, "clone", "-q", "--bare", dir, "app.git")
	command := "ssh -F none -i " + s.key + " -o IdentitiesOnly=yes -o UserKnownHostsFile=" + s.known
	scripts := t.TempDir()
	testworld.Write(t, scripts, map[string]string{"deploy key": "#!/bin/sh\nexec " + command + " \"$@\"\n", "plink": "#!/bin/sh\n[ \"$1\" = -P ] || exit 1\nshift\nexec " + command + " -p \"$@\"\n"})
	for _, name := range []string{"deploy key", "plink"} {
		if err := os.Chmod(filepath.Join(scripts, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	read := func(config string, environ ...string) error {
		opts := testworld.GitOptions(t)
		opts.Environ = gitConfig(t, config, environ...)
		remote, err := git.OpenRemote(t.Context(), "ssh://git@"+s.addr+"/~/app.git", opts)
		if err != nil {
			return err
		}
		tip, _, err := remote.Tip(t.Context(), "main")
		if err == nil && tip != head {
			err = errors.New("another tip: " + string(tip))
		}
		return err
	}
	for name, err := range map[string]error{
		"core.sshCommand": read("[core]\n sshCommand = " + command + "\n"),
		"GIT_SSH_COMMAND": read("[core]\n sshCommand = false\n", "GIT_SSH_COMMAND="+command),
		"GIT_SSH":         read("", "GIT_SSH="+filepath.Join(scripts, "deploy key")),
		"plink":           read("", "GIT_SSH="+filepath.Join(scripts, "plink")),
		"ssh.variant":     read("[ssh]\n variant = plink\n[core]\n sshCommand = " + filepath.Join(scripts, "plink") + "\n"),
		"shell":           read("", "GIT_SSH_COMMAND=KEY="+s.key+"; ssh -F none -i $KEY -o UserKnownHostsFile="+s.known),
		"agent":           read("", s.environ()...),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantError(t, read("", "SSH_KNOWN_HOSTS="+s.known, "SSH_AUTH_SOCK=", "GIT_SSH_COMMAND=ssh -F none -i /nonexistent -o IdentitiesOnly=yes -o UserKnownHostsFile="+s.known), "Permission denied", "ssh-add", "core.sshCommand", "ssh git@127.0.0.1")
	wantError(t, read("", "SSH_KNOWN_HOSTS=/nonexistent", "SSH_AUTH_SOCK="+s.agent), "Host key verification failed", "known_hosts")
	wantError(t, read("", "GIT_SSH_COMMAND=exit 7;"), "exit status 7")
	wantError(t, read("[ssh]\n variant = simple\n"), "ssh.variant=simple", "port")
	wantError(t, read("", "PATH="+scripts, "GIT_SSH=ssh"), "install OpenSSH", "core.sshCommand")
}

// TestSSHCommandOfAnotherOwner has a command in the configuration of a repository that git does not trust.
func TestSSHCommandOfAnotherOwner(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	ran := filepath.Join(t.TempDir(), "ran")
	testworld.Git(t, dir, "config", "core.sshCommand", "touch "+ran+"; false")
	testworld.Git(t, dir, "remote", "add", "origin", "ssh://git@127.0.0.1:1/app.git")
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Skip(err)
	}
	read := func(environ ...string) error {
		remote, err := openRepository(t, dir, testworld.GitOptions(t, environ...)).Remote(t.Context(), "origin")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = remote.Tip(t.Context(), "main")
		return err
	}
	wantError(t, read(), "core.sshCommand", "safe.directory "+dir)
	if _, err := os.Stat(ran); err == nil {
		t.Error("the command ran")
	}
	wantError(t, read("GIT_SSH_COMMAND=exit 7;"), "exit status 7")
	trusted := gitConfig(t, "[safe]\n directory = "+dir+"\n")
	wantError(t, read(trusted...), "did not begin")
	if _, err := os.Stat(ran); err != nil {
		t.Error("the command of a trusted repository did not run")
	}
}

// TestSSHIsCancelled cancels a run whose ssh command waits in a process of its own, which keeps the output open.
func TestSSHIsCancelled(t *testing.T) {
	t.Parallel()
	begun, end := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "end")
	for _, pipe := range []string{begun, end} {
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Skip(err) // a system without named pipes, which hold the command at a known place
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := os.ReadFile(begun); err != nil {
			t.Error(err)
		}
		cancel()
	})
	remote := openRemote(t, "ssh://git@127.0.0.1:1/app.git", testworld.GitOptions(t, "GIT_SSH_COMMAND=echo >"+begun+"; cat "+end+"; true"))
	if _, _, err := remote.Tip(ctx, "main"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	group.Wait()
	pipe, err := os.OpenFile(end, os.O_RDWR, 0) // waits for no reader: the process may be gone before it reads
	if err == nil {
		err = pipe.Close() // ends the process
	}
	if err != nil {
		t.Error(err)
	}
}
