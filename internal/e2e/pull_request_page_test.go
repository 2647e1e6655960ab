package e2e

import (
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/demo"
)

// pullPage is the frame around a description that a forge rendered: Gitea's own pages have styles that this build of it has not.
const pullPage = `<!DOCTYPE html><meta charset="utf-8"><title>TITLE</title><style>
body { margin: 24px auto; max-width: 940px; font: 14px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff }
h1 { font-size: 26px; font-weight: 400; margin: 0 } h1 span { color: #59636e } code { font: 12px ui-monospace, monospace }
.state { background: #1a7f37; color: #fff; border-radius: 2em; padding: 4px 12px } .refs { color: #59636e; margin: 10px 0 16px }
code { background: #eff1f3; border-radius: 6px; padding: .15em .4em } pre code { background: none; padding: 0 }
pre { background: #f6f8fa; border-radius: 6px; padding: 12px; overflow: auto }
article { border: 1px solid #d1d9e0; border-radius: 6px; padding: 4px 20px }
table { border-collapse: collapse; margin: 8px 0 } th, td { border: 1px solid #d1d9e0; padding: 5px 12px; text-align: left }
h2, h3 { margin: 16px 0 8px; font-size: 17px } h3 { font-size: 15px } summary { cursor: pointer } p { margin: 8px 0 }
</style><h1>TITLE <span>#NUMBER</span></h1>
<p class="refs"><span class="state">Open</span> lockage wants to merge <code>HEAD</code> into <code>BASE</code></p><article>BODY</article>`

// TestPullRequestPage has Gitea render the description of a pull request, and looks at it in Chromium.
func TestPullRequestPage(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	h := newHowto(t, newReviewWorld(t, gitea(t), bin, "page"), "../../docs/howto/production-by-pull-request.md")
	productionByPullRequest(h)

	chart := func(name string) string { return h.path("source", demo.ChartPath, name) }
	write(t, chart("templates/role.yaml"), "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: {{ .Release.Name }}-reader}\n"+
		"rules:\n  - {apiGroups: [\"\"], resources: [configmaps, secrets], verbs: [get, list]}\n")
	write(t, chart("values.yaml"), strings.Replace(read(t, chart("values.yaml")), "replicas: 1", "replicas: 3", 1))
	h.command("source", "git", "add", "-A")
	h.command("source", "git", "commit", "-q", "-m", "Read the settings from the cluster")
	commit := strings.TrimSpace(h.command("source", "git", "rev-parse", "HEAD"))
	image := h.registry + "/acme/web:git-" + commit
	pushImage(t, image, commit)
	h.command("gitops", bin, "lock", "write", "--commit", commit, "--image", image)
	h.pushGitOps("release")
	h.command("gitops", bin, "hydrate")
	h.command("gitops", bin, "promote", "--ready")

	pull := h.last("stage/production")
	status, body := h.repo.Server.Try(t, h.repo.Server.Admin, "POST", "/markdown", map[string]string{"Text": pull.Body, "Mode": "gfm"}, nil)
	if status != http.StatusOK || pull.State != "open" {
		t.Fatalf("%d, %s: %s", status, pull.State, body)
	}
	page := h.path("pull.html")
	write(t, page, strings.NewReplacer("TITLE", html.EscapeString(pull.Title), "NUMBER", "2", "HEAD", pull.Head.Ref, "BASE", pull.Base.Ref, "BODY", body).Replace(pullPage))
	b := startChromium(t)
	b.resize(1000, "light")
	b.open(page)
	if open := eval[int](b, `document.querySelectorAll("details[open]").length`); open != 0 {
		t.Errorf("%d objects are shown at once", open)
	}
	eval[bool](b, `document.querySelector("details").open = true`)
	text := eval[string](b, "document.body.innerText")
	wants(t, "the page", text, "role allows far more", "get secrets, list secrets", "spec.replicas", "Approve this, and do not merge it")
	for _, raw := range []string{"| ---", "```", "**", "<details"} {
		if strings.Contains(text, raw) {
			t.Errorf("%q is not rendered: %s", raw, text)
		}
	}
	if n := eval[int](b, `document.querySelectorAll("article table").length`); n == 0 {
		t.Error("no table")
	}
	if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > 1000 {
		t.Errorf("the page is %d pixels wide", wide)
	}
	b.screenshot("pull-request")
}
