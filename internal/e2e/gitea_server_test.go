package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// giteaServer is a fresh Gitea on this machine, gone after the test:
//
//	g := gitea(t)
//	env := g.Repo(t, "env")
//	first := env.Push(t, "stage/dev", "main", map[string]string{"app.yaml": "replicas: 1\n"})
//	env.Approve(t, 1, g.User(t, "ada"), first)
//
// It has one administrator, who owns the organisation «acme», in which repositories are made.
type giteaServer struct {
	URL   string // http://127.0.0.1:PORT
	Admin giteaUser
	log   string
}

type giteaUser struct{ Name, Token string }

// giteaRepo is one repository of acme, with a first commit on main.
type giteaRepo struct {
	Server *giteaServer
	Name   string
	URL    string // without credentials
	work   string // a clone that Push works in
}

// gitea starts a server, with more lines of its configuration, or skips the test where there are no end-to-end tests.
func gitea(t *testing.T, more ...string) *giteaServer {
	t.Helper()
	if os.Getenv("LOCKAGE_E2E") != "1" {
		t.Skip("end-to-end tests need upstream's tools: run `make e2e`")
	}
	program, err := exec.LookPath("gitea")
	if err != nil {
		t.Fatalf("LOCKAGE_E2E=1, but gitea is missing: %v; run `make e2e`", err)
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir, which only its owner may enter: Gitea refuses to run as root.
	dir, err := os.MkdirTemp("", "lockage-gitea-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var credential *syscall.Credential
	if os.Geteuid() == 0 {
		if account, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32)
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		// The cache of tools may lie where only root can go.
		reachable := filepath.Join(dir, "gitea")
		if err := os.Link(program, reachable); err != nil {
			copyFile(t, program, reachable)
		}
		program = reachable
	}
	_, port, _ := net.SplitHostPort(freeAddress(t))
	home := filepath.Join(dir, "home")
	conf := filepath.Join(home, "app.ini")
	write(t, conf, giteaConf(home, account.Username, port)+strings.Join(more, "\n")+"\n")
	if credential != nil {
		for _, path := range []string{home, conf} {
			if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := &giteaServer{URL: "http://127.0.0.1:" + port, log: filepath.Join(dir, "web.log")}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, append([]string{"--config", conf}, args...)...)
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GITEA_WORK_DIR=" + home, "USER=" + account.Username}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
		return cmd
	}
	run := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		cmd := command(args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("gitea %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
		}
		return stdout.String()
	}
	run("migrate")
	g.Admin.Name = "lockage-bot"
	run("admin", "user", "create", "--admin", "--username", g.Admin.Name, "--password", giteaPassword,
		"--email", g.Admin.Name+"@example.com", "--must-change-password=false")
	lines := strings.Fields(run("admin", "user", "generate-access-token", "--username", g.Admin.Name, "--scopes", "all", "--raw"))
	if len(lines) == 0 {
		t.Fatal("gitea gave no token")
	}
	g.Admin.Token = lines[len(lines)-1]

	log, err := os.Create(g.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command("web")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := wait(cmd)
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and the git processes it started
		<-ended
		_ = log.Close()
		if t.Failed() {
			t.Logf("gitea's log:\n%s", read(t, g.log))
		}
	})
	eventually(func() bool {
		select {
		case <-ended:
			t.Fatalf("gitea: %s", cmd.ProcessState)
		default:
		}
		response, err := http.Get(g.URL + "/api/v1/version")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	g.API(t, "POST", "/orgs", map[string]any{"username": "acme"}, nil)
	return g
}

const giteaPassword = "Correct-horse-1"

func giteaConf(home, account, port string) string {
	return fmt.Sprintf(`APP_NAME = lockage e2e
RUN_USER = %[2]s
RUN_MODE = prod
WORK_PATH = %[1]s
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[3]s
ROOT_URL = http://127.0.0.1:%[3]s/
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
[repository]
ROOT = %[1]s/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-tests
INTERNAL_TOKEN = only-for-tests-on-loopback
PASSWORD_HASH_ALGO = pbkdf2$1$50
[oauth2]
ENABLED = false
[service]
DISABLE_REGISTRATION = true
[log]
MODE = console
LEVEL = Warn
[actions]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[session]
PROVIDER = memory
[queue]
TYPE = channel
[mailer]
ENABLED = false
[webhook]
ALLOWED_HOST_LIST = loopback
`, home, account, port)
}

// API sends a request as the administrator; any other answer than success ends the test. The path begins below /api/v1.
func (g *giteaServer) API(t *testing.T, method, path string, body, into any) {
	t.Helper()
	if status, answer := g.Try(t, g.Admin, method, path, body, into); status >= 300 {
		t.Fatalf("gitea: %s %s: %d %s", method, path, status, answer)
	}
}

// Try sends a request as a user and returns what came back.
func (g *giteaServer) Try(t *testing.T, as giteaUser, method, path string, body, into any) (status int, answer string) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, g.URL+"/api/v1"+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if as.Token != "" {
		request.Header.Set("Authorization", "token "+as.Token)
	} else {
		request.SetBasicAuth(as.Name, giteaPassword)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil && response.StatusCode < 300 {
		if err := json.Unmarshal(content, into); err != nil {
			t.Fatalf("gitea: %s %s: %v in %s", method, path, err, content)
		}
	}
	return response.StatusCode, string(content)
}

// User returns a user with a new token, making the user if needed, who may write to every repository of acme that exists
// by now.
func (g *giteaServer) User(t *testing.T, name string) giteaUser {
	t.Helper()
	user := g.Outsider(t, name)
	var repositories []struct{ Name string }
	g.API(t, "GET", "/orgs/acme/repos?limit=50", nil, &repositories)
	for _, repository := range repositories {
		g.API(t, "PUT", "/repos/acme/"+repository.Name+"/collaborators/"+name, map[string]any{"permission": "write"}, nil)
	}
	return user
}

// Team makes an organization and a team with these users in it, and returns its name.
func (g *giteaServer) Team(t *testing.T, organization, name string, users ...string) string {
	t.Helper()
	g.Try(t, g.Admin, "POST", "/orgs", map[string]any{"username": organization}, nil) // which may exist
	var team struct{ ID int }
	g.API(t, "POST", "/orgs/"+organization+"/teams", map[string]any{"name": name, "permission": "read", "units": []string{"repo.code"}}, &team)
	for _, user := range users {
		g.API(t, "PUT", fmt.Sprintf("/teams/%d/members/%s", team.ID, user), nil, nil)
	}
	return organization + "/" + name
}

// Outsider returns a user with a new token, making the user if needed, without any rights but earlier ones.
func (g *giteaServer) Outsider(t *testing.T, name string) giteaUser {
	t.Helper()
	if status, _ := g.Try(t, g.Admin, "GET", "/users/"+name, nil, nil); status == http.StatusNotFound {
		g.API(t, "POST", "/admin/users", map[string]any{
			"username": name, "password": giteaPassword, "email": name + "@example.com", "must_change_password": false,
		}, nil)
	}
	var token struct{ Sha1 string }
	status, answer := g.Try(t, giteaUser{Name: name}, "POST", "/users/"+name+"/tokens",
		map[string]any{"name": "e2e-" + rand.Text(), "scopes": []string{"all"}}, &token)
	if status != http.StatusCreated {
		t.Fatalf("token of %s: %d %s", name, status, answer)
	}
	return giteaUser{name, token.Sha1}
}

// Repo makes a repository of acme.
func (g *giteaServer) Repo(t *testing.T, name string) *giteaRepo {
	t.Helper()
	g.API(t, "POST", "/orgs/acme/repos", map[string]any{"name": name, "auto_init": true, "default_branch": "main"}, nil)
	r := &giteaRepo{Server: g, Name: name, URL: g.URL + "/acme/" + name + ".git", work: filepath.Join(t.TempDir(), name)}
	r.Git(t, "", "clone", "-q", r.As(g.Admin), r.work)
	return r
}

// As returns the repository's URL with a user's credentials, for git.
func (r *giteaRepo) As(user giteaUser) string {
	u, err := url.Parse(r.URL)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(user.Name, user.Token)
	return u.String()
}

// Git runs git, by default in the repository's own clone, and returns its stdout.
func (r *giteaRepo) Git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	stdout, err := r.TryGit(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout
}

// TryGit is Git for what may fail; the error holds the output of git.
func (r *giteaRepo) TryGit(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	if dir == "" && args[0] != "clone" {
		dir = r.work
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("git %s: %w\n%s%s", args[0], err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// Push commits files on top of another branch (or its own, to go on) and pushes the commit to a branch, by force where it
// must; it returns the commit.
func (r *giteaRepo) Push(t *testing.T, branch, onto string, files map[string]string) string {
	t.Helper()
	r.Git(t, "", "fetch", "-q", "--prune", "origin")
	r.Git(t, "", "checkout", "-q", "--detach", "origin/"+onto)
	for name, content := range files {
		write(t, filepath.Join(r.work, name), content)
	}
	r.Git(t, "", "add", "-A")
	r.Git(t, "", "commit", "-q", "--allow-empty", "-m", "change "+branch)
	r.Git(t, "", "push", "-q", "--force", "origin", "HEAD:refs/heads/"+branch)
	return strings.TrimSpace(r.Git(t, "", "rev-parse", "HEAD"))
}

// Head returns the commit of a branch on the server, or "".
func (r *giteaRepo) Head(t *testing.T, branch string) string {
	t.Helper()
	commit, _, _ := strings.Cut(r.Git(t, "", "ls-remote", "origin", "refs/heads/"+branch), "\t")
	return commit
}

func (r *giteaRepo) api(format string, args ...any) string {
	return "/repos/acme/" + r.Name + fmt.Sprintf(format, args...)
}

// Approve approves a pull request at a commit, as a user.
func (r *giteaRepo) Approve(t *testing.T, number int, as giteaUser, commit string) {
	t.Helper()
	r.Review(t, number, as, commit, "APPROVED")
}

// Review writes a review: APPROVED, REQUEST_CHANGES or COMMENT.
func (r *giteaRepo) Review(t *testing.T, number int, as giteaUser, commit, event string) {
	t.Helper()
	status, answer := r.Server.Try(t, as, "POST", r.api("/pulls/%d/reviews", number),
		map[string]any{"event": event, "body": "As " + as.Name + " sees it.", "commit_id": commit}, nil)
	if status != http.StatusOK {
		t.Fatalf("review of %s: %d %s", as.Name, status, answer)
	}
}

// Merge merges as a user: merge, squash, rebase, rebase-merge or fast-forward-only. It waits until Gitea knows whether it can.
func (r *giteaRepo) Merge(t *testing.T, number int, as giteaUser, style string) {
	t.Helper()
	var status int
	var answer string
	eventually(func() bool {
		status, answer = r.Server.Try(t, as, "POST", r.api("/pulls/%d/merge", number), map[string]any{"Do": style}, nil)
		return status != http.StatusMethodNotAllowed || !strings.Contains(answer, "try again")
	})
	if status != http.StatusOK {
		t.Fatalf("merge %d by %s: %d %s", number, style, status, answer)
	}
}

// Protect protects the branches that a rule's name matches (like stage/*); rule has more of Gitea's fields, such as
// required_approvals, enable_push, enable_status_check and status_check_contexts.
func (r *giteaRepo) Protect(t *testing.T, branches string, rule map[string]any) {
	t.Helper()
	body := map[string]any{"rule_name": branches}
	for key, value := range rule {
		body[key] = value
	}
	r.Server.API(t, "POST", r.api("/branch_protections"), body, nil)
}

// Unprotect takes a rule away that Protect made.
func (r *giteaRepo) Unprotect(t *testing.T, branches string) {
	t.Helper()
	r.Server.API(t, "DELETE", r.api("/branch_protections/%s", url.PathEscape(branches)), nil, nil)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		t.Fatal(err)
	}
}
