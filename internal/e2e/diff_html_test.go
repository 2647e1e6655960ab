package e2e

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockage/lockage/internal/demo"
)

// hostile is a manifest that would take over the page, or at least call home, if any of it took effect there.
const hostile = `apiVersion: v1
kind: ConfigMap
metadata:
  name: hostile
  annotations:
    note: '</script><img src=OUTSIDE/a onerror="window.hacked=1">'
data:
  "a</td></table><script>window.hacked=1</script>": '"><svg onload="window.hacked=1">'
  text: |
    <style>@import url(OUTSIDE/b);</style><iframe src="OUTSIDE/c"></iframe>
    {{ "{{" }}.Title}} <link rel=stylesheet href=OUTSIDE/d> javascript:window.hacked=1
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [""], resources: [secrets], verbs: [get, list]}
`

// TestDiffPage opens the pages that diff writes in Chromium, and uses them as a reviewer does.
func TestDiffPage(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	var calls atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(outside.Close)
	w := newWorld(t, bin, startOlareg(t))

	chart := w.path("source", demo.ChartPath)
	write(t, chart+"/templates/hostile.yaml", strings.ReplaceAll(hostile, "OUTSIDE", outside.URL))
	for file, change := range map[string][2]string{
		"/templates/configmap.yaml":  {"{{ .Values.logLevel }}", "{{ .Values.logLevel }}-verbose"},
		"/templates/deployment.yaml": {"automountServiceAccountToken: false", "automountServiceAccountToken: true"},
		"/files/limits.json":         {"{", `{"added": {"burst": 3},`},
	} {
		content := read(t, chart+file)
		changed := strings.Replace(content, change[0], change[1], 1)
		if changed == content {
			t.Fatalf("%s holds no %q", file, change[0])
		}
		write(t, chart+file, changed)
	}
	w.command("source", "git", "rm", "-q", demo.ChartPath+"/templates/networkpolicy.yaml")
	w.command("source", "git", "add", "-A")
	w.command("source", "git", "commit", "-q", "-m", "a change")
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	w.command("gitops", bin, "diff", "--commit", commit, "--html", w.path("pages"), "production")

	b := startChromium(t)
	b.resize(1280, "light")
	b.open(w.path("pages", "codeai-production.html"))

	t.Run("nothing of a manifest takes effect", func(t *testing.T) {
		if requests := b.requests(); len(requests) > 0 || calls.Load() > 0 {
			t.Errorf("the page asks for %q; %d requests arrived", requests, calls.Load())
		}
		if complaints := b.complaints(); len(complaints) > 0 {
			t.Errorf("the browser complains: %q", complaints)
		}
		if eval[bool](b, `"hacked" in window`) {
			t.Error("a manifest ran a script")
		}
		if n := eval[int](b, `document.querySelectorAll("img, svg, iframe, link, script").length`); n != 1 {
			t.Errorf("%d elements that can load something, and only the page's own script is one", n)
		}
		for _, want := range []string{`</script><img src=`, `a</td></table><script>window.hacked=1</script>`, `<iframe src=`} {
			if !strings.Contains(eval[string](b, `document.querySelector("main").textContent`), want) {
				t.Errorf("the page does not show %q", want)
			}
		}
	})

	t.Run("the two sides stand side by side", func(t *testing.T) {
		sides := eval[[]float64](b, `(() => { const row = document.querySelector("td.removed + td.added").parentElement;
			const [l, r] = Array.from(row.children).map((cell) => cell.getBoundingClientRect());
			return [l.top, r.top, l.right, r.left, l.width, r.width]; })()`)
		if sides[0] != sides[1] || sides[2] > sides[3]+1 || sides[4] < 200 || sides[5] < 200 {
			t.Errorf("a removed and an added line lie at %v", sides)
		}
		changed := eval[[]string](b, `Array.from(document.querySelectorAll("td mark")).map((m) => m.textContent)`)
		if !slices.Contains(changed, "-verbose") {
			t.Errorf("what differs within a line is not marked: %q", changed)
		}
		b.screenshot("wide")
	})

	open := `Array.from(document.querySelectorAll(".object")).filter((o) => o.open).length`
	objects := eval[int](b, `document.querySelectorAll(".object").length`)
	if objects < 5 {
		t.Fatalf("%d objects changed", objects)
	}
	t.Run("objects fold and unfold", func(t *testing.T) {
		b.click("#collapse")
		if n := eval[int](b, open); n != 0 {
			t.Errorf("%d objects are open after «Collapse all»", n)
		}
		b.click("#expand")
		if n := eval[int](b, open); n != objects {
			t.Errorf("%d of %d objects are open after «Expand all»", n, objects)
		}
		b.click(".object > summary")
		if n := eval[int](b, open); n != objects-1 {
			t.Errorf("%d objects are open after a click on one of %d", n, objects)
		}
		// A file in the tree leads to its object, and opens it.
		b.click(`nav .file a[href="#o0"]`)
		opened := `new Promise((answer) => setTimeout(() => answer(document.getElementById("o0").open && location.hash === "#o0"), 100))`
		if !eval[bool](b, opened) {
			t.Error("the link in the tree of files does not open the object")
		}
		b.click("#o0 > summary")
		b.click(`nav .file a[href="#o0"]`)
		if !eval[bool](b, opened) {
			t.Error("the link in the tree of files opens the object once only")
		}
	})

	t.Run("the filter filters", func(t *testing.T) {
		b.click("#filter")
		b.typeText("configmap hostile")
		visible := eval[[]string](b, `Array.from(document.querySelectorAll(".object")).filter((o) => o.checkVisibility()).map((o) => o.querySelector("b").textContent)`)
		if len(visible) != 1 || !strings.HasPrefix(visible[0], "ConfigMap ") || !strings.HasSuffix(visible[0], "hostile") {
			t.Errorf("the filter shows %q", visible)
		}
		links := eval[int](b, `Array.from(document.querySelectorAll("nav .file")).filter((o) => o.checkVisibility()).length`)
		if shown := eval[string](b, `document.getElementById("shown").textContent`); links != 1 || !strings.HasPrefix(shown, "1 of ") {
			t.Errorf("the tree shows %d files, and says %q", links, shown)
		}
		b.typeText(" no such thing")
		if n := eval[int](b, `Array.from(document.querySelectorAll(".object")).filter((o) => o.checkVisibility()).length`); n != 0 {
			t.Errorf("%d objects are found that do not exist", n)
		}
	})

	t.Run("it fits a narrow window and the dark", func(t *testing.T) {
		b.open(w.path("pages", "codeai-production.html"))
		b.resize(400, "dark")
		if width := eval[int](b, `document.documentElement.scrollWidth`); width > 400 {
			t.Errorf("it is %d pixels wide in a window of 400", width)
		}
		colours := eval[[]string](b, `[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]`)
		if colours[0] == "rgb(255, 255, 255)" || colours[0] == colours[1] {
			t.Errorf("in the dark it is %q", colours)
		}
		b.screenshot("narrow-dark")
		b.resize(1280, "dark")
		b.screenshot("dark")
		if calls.Load() > 0 {
			t.Errorf("%d requests left the page", calls.Load())
		}
	})
}
