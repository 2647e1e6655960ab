package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/lockage/lockage/internal/testworld"
)

// TestReadme goes the README's way to production, in an empty repository on Gitea and in a registry, both with passwords.
func TestReadme(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), bin: bin}
	write(t, w.path("htpasswd"), "robot:"+string(hash)+"\n")
	registry := newDistribution(t)
	registry.stop()
	write(t, registry.conf, read(t, registry.conf)+"auth: {htpasswd: {realm: registry, path: "+w.path("htpasswd")+"}}\n")
	registry.start()
	w.registry = registry.addr

	write(t, w.path("home", ".docker", "config.json"),
		`{"auths": {"`+w.registry+`": {"auth": "`+base64.StdEncoding.EncodeToString([]byte("robot:"+password))+`"}}}`)
	write(t, w.path("home", ".git-credentials"), strings.Replace(g.URL, "://", "://"+g.Admin.Name+":"+giteaPassword+"@", 1)+"\n")
	write(t, w.path("home", ".gitconfig"), "[user]\nname = Ada\nemail = ada@example.com\n[credential]\nhelper = store\n[init]\ndefaultBranch = main\n"+
		"[url \""+g.URL+"/acme/\"]\ninsteadOf = https://github.com/acme/\n")
	w.env = []string{"PATH=" + filepath.Dir(bin) + ":" + os.Getenv("PATH"), "HOME=" + w.path("home"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "COSIGN_PASSWORD="}

	// The application is there: a chart in its repository, and an image.
	for _, name := range []string{"shop", "shop-gitops"} {
		g.API(t, "POST", "/orgs/acme/repos", map[string]any{"name": name, "private": true, "default_branch": "main"}, nil)
	}
	examples, err := filepath.Abs("../../examples/helm/source")
	if err != nil {
		t.Fatal(err)
	}
	w.command(".", "cp", "-r", examples, "shop")
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "The shop"}, {"push", "-q", "https://github.com/acme/shop.git", "HEAD:main"}} {
		w.command("shop", "git", args...)
	}
	w.command(".", "tar", "-cf", "layer.tar", "shop/deploy")
	w.command(".", "crane", "append", "--oci-empty-base", "-f", "layer.tar", "-t", w.registry+"/acme/shop:v1.2.3")

	var way testworld.Step
	for _, step := range testworld.Steps(read(t, "../../README.md")) {
		if strings.HasPrefix(step.Shell, "git clone") {
			way = step
		}
	}
	if commands := len(strings.Split(strings.ReplaceAll(strings.TrimSpace(way.Shell), " && ", "\n"), "\n")); commands < 8 || commands > 12 {
		t.Errorf("%d commands lead to production:\n%s", commands, way.Shell)
	}
	output := w.command(".", "bash", "-e", "-o", "pipefail", "-c", strings.ReplaceAll(way.Shell, "ghcr.io/", w.registry+"/"))
	if err := way.Prints(strings.ReplaceAll(output, w.registry, "ghcr.io")); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if files := w.command("shop-gitops", "git", "ls-files"); strings.Contains(files, ".key") {
		t.Errorf("a private key is published: %s", files)
	}
	if strings.Contains(output, password) || strings.Contains(output, giteaPassword) {
		t.Errorf("a password is printed: %s", output)
	}
	w.command("shop-gitops", bin, "verify", "live:production")
}
