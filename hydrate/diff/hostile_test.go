package diff

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/lockage/lockage/hydrate"
)

// hostileTexts are what a manifest could say to be obeyed.
func hostileTexts() []string {
	return []string{
		"@all", "#123", "x `@team` y", "``` \n@team\n```", "````diff\n</details>\n<img src=x onerror=alert(1)>", "</details></summary><script>alert(1)</script>",
		"[link](https://evil.example)", "a | b \\| @all |", "\\", "`", "<!-- -->", "**bold**\n\n# heading\n- item", "\x1b[31mred\x1b]0;title\x07", "\u202eevil\u2066", "a\u200bb\u00a0c",
		"\r\nover", "{{.Title}}", "'\"><svg onload=alert(1)>", "javascript:alert(1)", strings.Repeat("long ", 20_000), "\u0085\u009b31m", "</script><script>", "@@ fake @@\n+ fake",
	}
}

// hostileObjects returns objects that say so in every place.
func hostileObjects(t testing.TB, version int) []hydrate.Object {
	t.Helper()
	var out []hydrate.Object
	for i, text := range hostileTexts() {
		key := text[:min(len(text), 100)]
		data := fmt.Sprintf("apiVersion: %q\nkind: %q\nmetadata: {name: %q, namespace: %q, labels: {%q: %q}}\nspec: {%q: %q, text: %q, image: %q, containers: [{name: %q, image: %q, x: %d}]}\n",
			"v1", key+"Kind", fmt.Sprint(i, key), key, key, fmt.Sprint(text, version), key, fmt.Sprint(text, version), fmt.Sprint(text, "\n", version, "\n", text), fmt.Sprint(key, version),
			key, fmt.Sprint(key, ":", version), version)
		// Go's quotes write what YAML's write but for these.
		data = strings.NewReplacer(`\a`, `\x07`, `\v`, `\x0b`).Replace(data)
		objects, err := hydrate.Objects([]hydrate.Manifest{{Source: key, Document: 1, Data: []byte(data)}})
		if err != nil {
			t.Fatalf("%q: %v\n%s", text, err, clip(data, 400))
		}
		out = append(out, objects...)
	}
	return append(out, objects(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '@only%d'}\ndata: {a: '`@all`'}", version))...)
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	for name, text := range outputs(t, hostileChanges(t)) {
		if name == "JSON" {
			continue
		}
		for i, r := range text {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("%s holds %U: %q", name, r, text[max(0, i-60):i+len(string(r))])
			}
		}
	}
}

func hostileChanges(t testing.TB) Changes {
	t.Helper()
	changes := compare(t, hostileObjects(t, 1), hostileObjects(t, 2), Options{All: true})
	if want := len(hostileTexts()) + 2; len(changes.Objects) != want {
		t.Fatalf("%d objects changed, not %d", len(changes.Objects), want)
	}
	return changes
}

// TestHostileMarkdown takes out of the Markdown all that is inert (fences, code spans, escaped text between our own
// tags) and looks for what is left of the manifests: there must be nothing.
func TestHostileMarkdown(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostileChanges(t).WriteMarkdown(&b, MarkdownOptions{Limit: 10 << 20}); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	fence := ""
	open, fences := 0, 0
	for line := range strings.SplitSeq(b.String(), "\n") {
		if fence != "" {
			// By CommonMark, up to three blanks and at least as many backticks close a fence.
			if trimmed := strings.TrimRight(line, " \t"); strings.HasPrefix(strings.TrimLeft(trimmed, " "), fence) && strings.Trim(trimmed, " `") == "" {
				fence = ""
			}
			continue
		}
		if strings.HasPrefix(line, "```") {
			fence = line[:strings.IndexFunc(line, func(r rune) bool { return r != '`' })]
			fences++
			continue
		}
		if strings.HasPrefix(line, "<details>") {
			if !regexp.MustCompile(`^<details><summary>[~+>-] <code>[^<>]*</code></summary>$`).MatchString(line) {
				t.Errorf("a summary holds markup: %q", line)
			}
			open++
			continue
		}
		if line == "</details>" {
			open--
			continue
		}
		// Cells are split before code spans: a row has as many pipes as the head.
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 5 {
			t.Errorf("a row of other cells: %q", line)
		}
		rest.WriteString(withoutCode(line) + "\n")
	}
	if fence != "" || open != 0 || fences == 0 {
		t.Errorf("fence %q is open, so are %d blocks; %d fences", fence, open, fences)
	}
	for _, bad := range []string{"@", "#", "`", "<", "[", "evil", "fake", "alert", "item", `\`, "over", "long"} {
		if i := strings.Index(rest.String(), bad); i >= 0 {
			t.Errorf("%q takes effect: %q", bad, rest.String()[max(0, i-80):min(rest.Len(), i+80)])
		}
	}
}

// withoutCode takes code spans out of a line, by CommonMark's rule: from a run of backticks to the next of that length.
func withoutCode(line string) string {
	var out strings.Builder
	for line != "" {
		start := strings.IndexByte(line, '`')
		if start < 0 {
			break
		}
		out.WriteString(line[:start])
		run := len(line[start:]) - len(strings.TrimLeft(line[start:], "`"))
		end, at := -1, start+run
		for at < len(line) {
			i := strings.IndexByte(line[at:], '`')
			if i < 0 {
				break
			}
			n := len(line[at+i:]) - len(strings.TrimLeft(line[at+i:], "`"))
			if n == run {
				end = at + i + n
				break
			}
			at += i + n
		}
		if end < 0 {
			out.WriteString(line[start : start+run])
			line = line[start+run:]
			continue
		}
		line = line[end:]
	}
	return out.String() + line
}

func FuzzCode(f *testing.F) {
	for _, text := range hostileTexts() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		span := code(text)
		if strings.ContainsAny(span, "\n\r") || withoutCode(span) != "" {
			t.Errorf("%q is not one code span: %q", text, span)
		}
	})
}

func TestMarkdownLimit(t *testing.T) {
	t.Parallel()
	changes := hostileChanges(t)
	for _, limit := range []int{minMarkdown + 100, 3000, 5000, 10_000, 30_000, 0} {
		var b strings.Builder
		if err := changes.WriteMarkdown(&b, MarkdownOptions{Limit: limit, Link: "https://me:secret@example.com/a b"}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		bound := limit
		if limit == 0 {
			bound = MarkdownLimit
		}
		if len(text) > bound {
			t.Errorf("%d bytes, more than %d", len(text), bound)
		}
		shown, left := strings.Count(text, "\n<details>"), 0
		if i := strings.Index(text, " left out below"); i >= 0 {
			line := text[strings.LastIndexByte(text[:i], '\n')+1 : i]
			if _, err := fmt.Sscanf(line, "⚠️ **%d object", &left); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if !strings.Contains(text, "for want of room.** The whole: <https://example.com/a%20b>\n") {
				t.Errorf("it begins %q", text[:400])
			}
		}
		if shown+left != len(changes.Objects) || shown != strings.Count(text, "\n</details>\n") {
			t.Errorf("limit %d: %d objects shown and %d left out of %d", limit, shown, left, len(changes.Objects))
		}
	}
	for _, options := range []MarkdownOptions{{Limit: 100}, {Link: "javascript:alert(1)"}, {Link: "https://"}, {Link: "\x00"}} {
		if err := changes.WriteMarkdown(&strings.Builder{}, options); err == nil {
			t.Errorf("%+v is taken", options)
		}
	}
}

func TestHostileHTML(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := hostileChanges(t).WriteHTML(&b, HTMLOptions{Title: "</title><script>", Before: "<b>", After: "{{.}}"}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	// The page's own tags are few; a manifest adds none, and no attribute to them.
	tags := regexp.MustCompile(`<[a-zA-Z!/][^>]*>`)
	own := regexp.MustCompile(`^</?(a|b|body|button|code|col|colgroup|details|div|h1|h2|head|header|html|input|li|main|mark|meta|nav|p|script|span|style|summary|table|tbody|td|th|thead|title|tr|ul|!doctype)( (href="#o\d+"|class="[a-z ]*"|id="[a-z0-9]+"|data-search="[^"]*"|open|colspan="2"|scope="[a-z]+"|html|lang="en"|charset="utf-8"|http-equiv="Content-Security-Policy"|content="[^"]*"|name="viewport"|type="[a-z]+"|placeholder="[^"]*"|aria-label="[A-Za-z ]+"|title="[A-Za-z ()]+"|role="status"))*>$`)
	for _, tag := range tags.FindAllString(page, -1) {
		if !own.MatchString(tag) {
			t.Errorf("a tag that is not ours: %q", clip(tag, 200))
		}
	}
	for _, outside := range []string{"http://", "src=", "@import", "url("} {
		if i := strings.Index(page, outside); i >= 0 && !strings.Contains(page[max(0, i-60):i], "img") {
			t.Errorf("the page loads something: %q", page[max(0, i-60):i+40])
		}
	}
	// The policy admits this script and no other.
	_, script, _ := strings.Cut(page, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	if want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(page, want) {
		t.Errorf("the policy does not hold %s", want)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	var root htmlFolder
	for _, file := range []string{"b/x.yaml", "b/x.yaml", "a.yaml", "b/c/d.yaml", strings.Repeat("z/", 2*maxFolders) + "e.yaml"} {
		root.add(strings.Split(file, "/"), htmlFile{Label: "object"})
	}
	root.sort()
	var show func(f *htmlFolder) string
	show = func(f *htmlFolder) string {
		var parts []string
		for _, sub := range f.Folders {
			parts = append(parts, sub.Name+show(sub))
		}
		for _, file := range f.Files {
			parts = append(parts, file.Label)
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	deep := strings.Repeat("z(", maxFolders-1) + "z" + strings.Repeat(")", maxFolders-1)
	if got, want := show(&root), "(b(c(d.yaml) x.yaml(object object)) "+deep+" a.yaml)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
