package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/internal/demo"
)

// TestBranchesOnGitea writes stage branches on a real forge: large ones, shared ones, ones with other people's files, and
// protected ones.
func TestBranchesOnGitea(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	registry := startOlareg(t)
	t.Run("thousand files", func(t *testing.T) { thousandFiles(t, newForgeWorld(t, g, bin, registry, "large")) })
	t.Run("shared", func(t *testing.T) { sharedBranch(t, newForgeWorld(t, g, bin, registry, "shared")) })
	t.Run("neighbours", func(t *testing.T) { neighbours(t, newForgeWorld(t, g, bin, registry, "neighbours")) })
	t.Run("doctor", func(t *testing.T) { examinedRules(t, newForgeWorld(t, g, bin, registry, "examined")) })
	t.Run("protected", func(t *testing.T) { protectedBranch(t, newForgeWorld(t, g, bin, registry, "protected")) })
}

// forgeWorld is a world whose GitOps repository lies on a forge.
type forgeWorld struct {
	*world
	repo *giteaRepo
}

func newForgeWorld(t *testing.T, g *giteaServer, bin, registry, name string) forgeWorld {
	t.Helper()
	w := forgeWorld{newWorld(t, bin, registry), g.Repo(t, name)}
	w.command("gitops", "git", "remote", "set-url", "origin", w.repo.As(g.Admin))
	w.declare(name, "")
	return w
}

// declare sets an artifact repository and a name of the pipeline's own, adds more keys, and pushes that.
func (w forgeWorld) declare(name, more string) {
	w.t.Helper()
	file := w.path("gitops", "lockage.yaml")
	write(w.t, file, strings.NewReplacer("acme/codeai-manifests", "acme/"+name, "name: codeai\n", "name: "+name+"\n").Replace(read(w.t, file))+more)
	w.pushGitOps("stages of " + name)
}

// files lists a branch's files as the forge has them.
func (w forgeWorld) files(branch string) []string {
	w.t.Helper()
	w.repo.Git(w.t, "", "fetch", "-q", "origin")
	return strings.Fields(w.repo.Git(w.t, "", "ls-tree", "-r", "--name-only", "origin/"+branch))
}

const mirrorEach = "\nmirror: {path: \"deploy/{stage}\"}\n"

func thousandFiles(t *testing.T, w forgeWorld) {
	write(t, w.path("source", demo.ChartPath, "templates", "many.yaml"), `{{- range until 1000 }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: many-{{ . }}}
data: {number: "{{ . }}"}
{{- end }}
`)
	w.release()
	w.declare("large", mirrorEach)
	w.hydrate("staging")
	if files := w.files("stage/staging"); len(files) < 1000 {
		t.Errorf("the branch has %d files", len(files))
	}
	w.command("gitops", w.bin, "verify", "staging")
	before := w.repo.Head(t, "stage/staging")
	if again := w.hydrate("staging"); again[0].Action != "unchanged" || w.repo.Head(t, "stage/staging") != before {
		t.Errorf("a second run: %+v", again)
	}
}

// sharedBranch lets sixty pipelines write to one branch, from two processes at a time.
func sharedBranch(t *testing.T, w forgeWorld) {
	const pipelines = 60
	one := read(t, w.path("gitops", "lockage.yaml"))
	one = one[:strings.Index(one, "stages:")] + "stages: [{name: staging}]\n"
	for i := range pipelines {
		name := fmt.Sprintf("p%02d", i)
		write(t, w.path("gitops", "pipelines", name+".yaml"),
			strings.NewReplacer("name: shared\n", "name: "+name+"\n", "acme/shared", "acme/shared-"+name).Replace(one)+
				"mirror: {branch: everything, path: apps/"+name+"}\n")
	}
	w.pushGitOps("sixty pipelines")
	var group sync.WaitGroup
	w.command("gitops", "git", "worktree", "add", "-q", "--detach", w.path("twin"))
	for _, dir := range []string{"gitops", "twin"} {
		group.Go(func() {
			if stdout, stderr, err := w.try(dir, w.bin, "hydrate", "-f", "pipelines/*.yaml"); err != nil {
				t.Errorf("%s: %v\n%s%s", dir, err, stdout, stderr)
			}
		})
	}
	group.Wait()
	folders := map[string]bool{}
	for _, file := range w.files("everything") {
		folders[filepath.Dir(file)] = true
	}
	if len(folders) != pipelines {
		t.Errorf("the branch has %d folders, want %d", len(folders), pipelines)
	}
	if commits := strings.TrimSpace(w.repo.Git(t, "", "rev-list", "--count", "origin/everything")); commits != "1" && commits != "2" {
		t.Errorf("%s commits of two processes for %d pipelines", commits, pipelines)
	}
	w.command("gitops", w.bin, "verify", "-f", "pipelines/*.yaml", "branch:everything")
}

// neighbours writes to a branch that has other teams' files: with other line ends, with attributes that would change ours
// on a checkout, and with a file where a folder has to be.
func neighbours(t *testing.T, w forgeWorld) {
	w.declare("neighbours", "\nmirror: {branch: all, path: \"deploy/{stage}\"}\n")
	theirs := map[string]string{"README.md": "theirs\r\n", "deploy/theirs.txt": "a\r\nb\r\n", ".gitattributes": "* text eol=crlf\n"}
	w.repo.Git(t, "", "config", "core.autocrlf", "false")
	w.repo.Push(t, "all", "main", map[string]string{"README.md": theirs["README.md"], "deploy/theirs.txt": theirs["deploy/theirs.txt"]})
	w.repo.Push(t, "all", "all", map[string]string{".gitattributes": theirs[".gitattributes"]})
	before := w.repo.Git(t, "", "ls-tree", "origin/all", "README.md", ".gitattributes", "deploy/theirs.txt")
	w.hydrate()
	w.command("gitops", w.bin, "verify", "staging")
	w.repo.Git(t, "", "fetch", "-q", "origin")
	if after := w.repo.Git(t, "", "ls-tree", "origin/all", "README.md", ".gitattributes", "deploy/theirs.txt"); after != before {
		t.Errorf("others' files were\n%sand are\n%s", before, after)
	}

	w.declare("neighbours2", "")
	file := w.path("gitops", "lockage.yaml")
	write(t, file, strings.Replace(read(t, file), "path: \"deploy/{stage}\"", "path: \"deploy/theirs.txt/{stage}\"", 1))
	w.pushGitOps("in the way")
	if output := w.refused("gitops", w.bin, "hydrate"); !strings.Contains(output, "deploy/theirs.txt is a file") {
		t.Errorf("a file in the way: %s", output)
	}
}

func protectedBranch(t *testing.T, w forgeWorld) {
	w.declare("protected", mirrorEach)
	w.repo.Push(t, "stage/production", "main", nil)
	w.repo.Protect(t, "stage/production", map[string]any{"enable_push": false})
	output := w.refused("gitops", w.bin, "hydrate")
	if !strings.Contains(output, "stage/production") || !strings.Contains(strings.ToLower(output), "protected") {
		t.Errorf("a protected branch: %s", output)
	}
	if head := w.repo.Head(t, "stage/staging"); head != "" {
		t.Errorf("stage/staging was pushed without stage/production: %s", head)
	}
	status, answer := w.repo.Server.Try(t, w.repo.Server.Admin, "DELETE", w.repo.api("/branch_protections/stage%%2Fproduction"), nil, nil)
	if status != http.StatusNoContent {
		t.Fatalf("unprotect: %d %s", status, answer)
	}
	w.hydrate()
	w.command("gitops", w.bin, "verify", "production")
}

// examinedRules has doctor ask the forge who may push where.
func examinedRules(t *testing.T, w forgeWorld) {
	w.promotable()
	bot := w.repo.Server.User(t, "bot")
	doctor := func(token string) string {
		t.Helper()
		before := w.env
		defer func() { w.env = before }()
		w.env = append(before[:len(before):len(before)], "LOCKAGE_FORGE=gitea", "LOCKAGE_FORGE_TOKEN="+token)
		return strings.Join(strings.Fields(w.command("gitops", w.bin, "doctor")), " ")
	}
	has := func(output string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(output, text) {
				t.Errorf("%q is not in %s", text, output)
			}
		}
	}
	admin := w.repo.Server.Admin.Token
	has(doctor(admin), "unprotected-branch: no rule protects main, candidates/examined, live/examined/staging, live/examined/test", "rebase: pull requests into main may be rebased")
	w.repo.Protect(t, "main", map[string]any{"enable_push": false})
	w.repo.Protect(t, "candidates/*", map[string]any{"enable_push": true})
	w.repo.Protect(t, "live/**", map[string]any{"enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": []string{"bot"}, "enable_force_push": true})
	if status, answer := w.repo.Server.Try(t, w.repo.Server.Admin, "PATCH", w.repo.api(""), map[string]any{"allow_rebase": false, "allow_fast_forward_only_merge": false}, nil); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	output := doctor(admin)
	has(output, "pushed-by-anybody: who may write to the repository may push to candidates/examined",
		"force-push: force-pushes to live/examined/staging, live/examined/test, live/examined/review, live/examined/production are allowed", "live/examined/production: only bot may push")
	for _, absent := range []string{"unprotected-branch", "rebase:", "pushed-past-review", "deletion:"} {
		if strings.Contains(output, absent) {
			t.Errorf("%s is in %s", absent, output)
		}
	}
	has(doctor(bot.Token), "branch-rules: the rules of its branches could not be read", "shows the rules of branches to administrators: 403")
	if output := w.command("gitops", w.bin, "doctor"); strings.Contains(output, "branch-rules") || strings.Contains(output, "pushers") {
		t.Errorf("without a token the forge is not asked: %s", output)
	}
}
