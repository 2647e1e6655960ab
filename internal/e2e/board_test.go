package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/promote/board"
)

// boardPipeline is the demonstration's, in its last stages with gates and a fleet after them.
func boardPipeline(t *testing.T, w *world) {
	t.Helper()
	file := w.path("gitops", "lockage.yaml")
	text := read(t, file)
	changed := strings.Replace(text, "hydrator: {key: env://HYDRATOR_KEY}", "hydrator: {key: env://HYDRATOR_KEY}\n  promoter: {key: env://PROMOTER_KEY}", 1)
	changed = strings.Replace(changed, "hydrator: {key: keys/hydrator.pub}", "hydrator: {key: keys/hydrator.pub}\n  promoter: {key: keys/promoter.pub}", 1)
	last := "- {name: production, after: {all: [test, review]}}"
	changed = strings.Replace(changed, last, `- name: production
    after: [test, review]
    gates:
      - soak: {stage: test, for: 2h}
      - approval: {by: [promoter]}`, 1)
	for i := range 7 {
		stage := fmt.Sprintf("eu-%d", i+1)
		changed += fmt.Sprintf("  - {name: %s, after: [production]}\n", stage)
		for _, f := range []string{"deployment.yaml", "values.yaml"} {
			from := w.path("gitops", "apps/codeai/deployments/production", f)
			write(t, w.path("gitops", "apps/codeai/deployments", stage, f), read(t, from))
		}
	}
	if changed == text || strings.Contains(changed, last) {
		t.Fatal("the demonstration's pipeline file is another one")
	}
	write(t, file, changed)
	w.pushGitOps("The pipeline")
}

// newBoard makes a world with a release in the first stages, and the next one in two of them: production waits. It returns the releases.
func newBoard(t *testing.T, w *world, outside string) (first, second string) {
	t.Helper()
	boardPipeline(t, w)
	w.hydrate()
	first = decode[hydration](t, w.command("gitops", w.bin, "hydrate", "-o", "json")).Results[0].Release
	for _, stage := range []string{"staging", "test", "review"} {
		w.command("gitops", w.bin, "promote", stage)
	}
	write(t, w.path("source", demo.ChartPath, "templates/hostile.yaml"), strings.ReplaceAll(hostile, "OUTSIDE", outside))
	second = w.release()
	w.hydrate()
	w.command("gitops", w.bin, "promote", "staging", "--reason", `<img src=x onerror="window.hacked=1"></script>`)
	w.command("gitops", w.bin, "promote", "test")
	return first, second
}

// statusRows is what these tests read of `status -o json`.
type statusRows struct {
	Results []struct {
		Pipeline string
		Stages   []struct {
			Stage           string
			Live, Candidate struct{ Release, Digest string }
		}
	}
}

// TestBoard opens the site that status writes in Chromium, and uses it as people do.
func TestBoard(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	var calls atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(outside.Close)
	w := newWorld(t, bin, startOlareg(t))
	first, second := newBoard(t, w, outside.URL)
	status := w.command("gitops", bin, "status", "-o", "json", "--html", w.path("site"))
	if got := read(t, w.path("site", "status.json")); got != status {
		t.Errorf("status.json is\n%s\nand status -o json\n%s", got, status)
	}
	rows := decode[statusRows](t, status).Results[0].Stages

	b := startChromium(t)
	b.resize(1280, "light")
	b.open(w.path("site", "index.html"))
	harmless := func(t *testing.T) {
		t.Helper()
		if requests, complaints := b.requests(), b.complaints(); len(requests)+len(complaints) > 0 || calls.Load() > 0 {
			t.Errorf("the page asks for %q, and the browser complains: %q", requests, complaints)
		}
		if eval[bool](b, `"hacked" in window`) || eval[int](b, `document.querySelectorAll("img, iframe, link").length`) > 0 {
			t.Error("what somebody else wrote took effect")
		}
	}
	visible := func() []string {
		return eval[[]string](b, `Array.from(document.querySelectorAll(".stage:not(.several)")).filter((s) => s.checkVisibility() && !s.classList.contains("dim")).map((s) => s.querySelector("h3 :first-child").textContent)`)
	}

	t.Run("the graph has the numbers of status", func(t *testing.T) {
		harmless(t)
		for _, row := range rows {
			shown := eval[string](b, fmt.Sprintf(`Array.from(document.querySelectorAll(".stage")).find((s) => s.querySelector("h3 :first-child").textContent === %q).outerHTML`, row.Stage))
			for _, want := range []string{row.Live.Release, row.Candidate.Release, strings.TrimPrefix(row.Live.Digest, "sha256:"), strings.TrimPrefix(row.Candidate.Digest, "sha256:")} {
				if !strings.Contains(shown, want) {
					t.Errorf("%s lacks %s: %s", row.Stage, want, shown)
				}
			}
		}
		sum := eval[int](b, `Array.from(document.querySelectorAll(".tally b")).reduce((n, b) => n + Number(b.textContent), 0)`)
		if sum != len(rows) {
			t.Errorf("the states sum up to %d of %d stages", sum, len(rows))
		}
		left := eval[[]float64](b, `["staging", "test", "production"].map((name) => Array.from(document.querySelectorAll(".graph h3")).find((h) => h.textContent.startsWith(name)).getBoundingClientRect().left)`)
		if !slices.IsSorted(left) || left[0] == left[1] || left[1] == left[2] {
			t.Errorf("the stages are not in a row: %v", left)
		}
		b.screenshot("board")
	})
	t.Run("search by stage, release and digest", func(t *testing.T) {
		for query, want := range map[string][]string{
			"production":                       {"production"},
			first:                              {"review"},
			rows[0].Live.Digest:                {rows[0].Stage},
			second + " staging":                {"staging"},
			"no-such-thing":                    nil,
			rows[len(rows)-1].Candidate.Digest: {rows[len(rows)-1].Stage},
		} {
			b.key("/")
			b.typeText(query)
			if got := visible(); !slices.Equal(got, want) {
				t.Errorf("%q finds %q, want %q", query, got, want)
			}
			b.key("Escape")
		}
		if n := len(visible()); n != 4 {
			t.Errorf("%d stages are shown without a search, and the folded ones are 7", n)
		}
	})
	t.Run("keys move between stages and change the colours", func(t *testing.T) {
		b.key("j")
		b.key("j")
		if focus := eval[string](b, `document.activeElement.textContent`); focus != "test" {
			t.Errorf("after j and j the focus is on %q", focus)
		}
		before := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
		b.key("t")
		if after := eval[string](b, `getComputedStyle(document.body).backgroundColor`); after == before {
			t.Errorf("after t it is %s as before", after)
		}
		b.key("t")
	})
	t.Run("it fits a narrow window and the dark", func(t *testing.T) {
		b.resize(1280, "dark")
		b.screenshot("board-dark")
		b.resize(400, "dark")
		if width := eval[int](b, `document.documentElement.scrollWidth`); width > 400 {
			t.Errorf("it is %d pixels wide in a window of 400", width)
		}
		b.screenshot("board-narrow-dark")
	})
	t.Run("a release has its verdicts, signatures and history", func(t *testing.T) {
		b.resize(1280, "light")
		b.open(w.path("site", "codeai", second+".html"))
		harmless(t)
		text := eval[string](b, `document.querySelector("main").textContent`)
		for _, want := range []string{"soak", "approval", "hydrator", "slsa.dev/provenance/v1", `<img src=x onerror="window.hacked=1"></script>`, second[len("git-"):], "role allows far more"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		b.screenshot("release")
		b.resize(1280, "dark")
		b.screenshot("release-dark")
		b.resize(400, "light")
		if width := eval[int](b, `document.documentElement.scrollWidth`); width > 400 {
			t.Errorf("it is %d pixels wide in a window of 400", width)
		}
		b.screenshot("release-narrow")
	})
	t.Run("every link leads somewhere", func(t *testing.T) {
		seen := map[string]bool{}
		open := []string{w.path("site", "index.html")}
		for len(open) > 0 {
			page := open[0]
			open = open[1:]
			if seen[page] {
				continue
			}
			seen[page] = true
			if _, err := os.Stat(page); err != nil {
				t.Error(err)
				continue
			}
			if !strings.HasSuffix(page, ".html") {
				continue
			}
			b.open(page)
			harmless(t)
			for _, link := range eval[[]string](b, `Array.from(document.querySelectorAll("a[href]")).map((a) => a.href.split("#")[0])`) {
				if file, ok := strings.CutPrefix(link, "file://"); ok {
					open = append(open, file)
				}
			}
		}
		if len(seen) < 5 {
			t.Errorf("%d pages", len(seen))
		}
	})
}

// TestLargeBoard opens the page of a thousand stages, and logs the processor time that this takes.
func TestLargeBoard(t *testing.T) {
	t.Parallel()
	requireE2E(t)
	now := time.Now()
	large := &board.Board{PolicyRef: "origin@main", Time: now}
	for i := range 125 {
		p := &board.Pipeline{Name: fmt.Sprintf("app-%d", i)}
		for j := range 8 {
			of := &board.Artifact{Release: fmt.Sprintf("git-%040x", i), Digest: digest.FromString(fmt.Sprint(i, j))}
			s := &board.Stage{Name: fmt.Sprintf("stage-%d", j), Live: of, Since: now.Add(-time.Hour), Candidate: of}
			if j > 0 {
				s.After = []string{fmt.Sprintf("stage-%d", j-1)}
			}
			p.Stages = append(p.Stages, s)
		}
		large.Pipelines = append(large.Pipelines, p)
	}
	dir := filepath.Join(t.TempDir(), "site")
	if err := large.Write(dir); err != nil {
		t.Fatal(err)
	}
	b := startChromium(t)
	b.resize(1280, "light")
	b.call("Performance.enable", map[string]any{"timeDomain": "threadTicks"}, nil)
	b.open(filepath.Join(dir, "index.html"))
	var spent struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	b.call("Performance.getMetrics", nil, &spent)
	loaded := 0.0
	for _, m := range spent.Metrics {
		if m.Name == "TaskDuration" {
			loaded = m.Value * 1000
		}
	}
	b.key("/")
	b.typeText("app-7 stage-3")
	if shown := eval[string](b, `document.getElementById("found").textContent`); shown != "11 of 1000 stages" {
		t.Errorf("it finds %q", shown)
	}
	searched := eval[float64](b, `(() => { const begin = performance.now(); document.getElementById("search").dispatchEvent(new Event("input")); return performance.now() - begin; })()`)
	t.Logf("%d bytes, loaded with %.0f ms of processor time, searched in %.0f ms", len(read(t, filepath.Join(dir, "index.html"))), loaded, searched)
	b.screenshot("large")
}
