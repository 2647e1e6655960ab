package diff

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
)

func TestCompareTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("same\n", 20)
	wide := strings.Repeat("w", 3000)
	for _, test := range []struct {
		name, before, after string
		want                string // "" for no comparison of lines
	}{
		{"of one line", "a", "b", ""},
		{"one line becomes two", "a", "a\nb", " a|+b"},
		{"a change in the middle", long + "x\n" + long, long + "y\n" + long, "@… 17 lines the same| same| same| same|-x|+y| same| same| same"},
		{"changes close by", "1\nx\n2\n3\n4\ny\n5", "1\nX\n2\n3\n4\nY\n5", " 1|-x|+X| 2| 3| 4|-y|+Y| 5"},
		{"newline at the end", "a\nb\n", "a\nb", "@newline at the end removed"},
		{"newline at the end, one line", "a", "a\n", "@newline at the end added"},
		{"JSON", `{"a":1,"b":[2]}`, `{"a":1,"b":[3]}`, "@JSON, indented for reading| {|   \"a\": 1,|   \"b\": [|-    2|+    3|   ]| }"},
		{"numbers of JSON stay as written", `[1.0]`, `[1.00]`, "@JSON, indented for reading| [|-  1.0|+  1.00| ]"},
		{"JSON that differs in blanks", `{"a":1}`, `{"a": 1}`, ""},
		{"what looks like JSON", `{"a":1`, `{"a":2`, ""},
		{"JSON that is nested too deep", strings.Repeat("[", 100) + "1" + strings.Repeat("]", 100), strings.Repeat("[", 100) + "2" + strings.Repeat("]", 100), ""},
		{"wide lines", wide + "x\n", wide + "y\n", "-…" + strings.Repeat("w", 128) + "x|+…" + strings.Repeat("w", 128) + "y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, line := range compareTexts(test.before, test.after) {
				got = append(got, string(line.Op)+line.Text)
			}
			if d := cmp.Diff(test.want, strings.Join(got, "|")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestNothingIsCut is of texts, fields and risks of any number: what differs is shown to its end.
func TestNothingIsCut(t *testing.T) {
	t.Parallel()
	var fields, env []string
	for i := range 1500 {
		fields = append(fields, fmt.Sprintf("f%04d: VALUE", i))
		env = append(env, fmt.Sprintf("{name: E%d, value: 'VALUE %d'}", i, i))
	}
	tree := func(value, text string) []hydrate.Object {
		object := func(kind, rest string) string {
			return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: a}\n" + strings.ReplaceAll(rest, "VALUE", value)
		}
		lines := strings.Repeat("  VALUE\n", 3000)
		return objects(t, strings.Join([]string{
			object("A", "spec: {"+strings.Join(fields, ", ")+", zz: last-field-"+value+"}"),
			object("B", "spec: {env: ["+strings.Join(env, ", ")+", {name: E, value: last-item-"+value+"}]}"),
			object("C", "text: '"+text+"'"),
			object("D", "text: |\n"+lines+"  last-line-"+value),
			object("E"+value, "spec: ["+strings.Repeat("x, ", 500)+"last-entry-"+value+"]"),
		}, "\n---\n"))
	}
	long := strings.Repeat("a", 10_000)
	changes := compare(t, tree("x", "short"), tree("y", long+"last-letter-y"), Options{})
	for name, text := range outputs(t, changes) {
		if name == "Markdown" {
			var b bytes.Buffer
			if err := changes.WriteMarkdown(&b, MarkdownOptions{Limit: 10 << 20}); err != nil {
				t.Fatal(err)
			}
			text = b.String()
		}
		text = strings.NewReplacer("<mark>", "", "</mark>", "").Replace(text)
		for _, want := range []string{"last-field-y", "last-item-y", "last-letter-y", "last-line-y", "last-entry-x", "last-entry-y"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not hold %s", name, want)
			}
		}
	}
}

// FuzzShorten checks that texts that differ still differ when they are shortened, and are whole characters.
func FuzzShorten(f *testing.F) {
	f.Add("aé", "a")
	f.Add(strings.Repeat("é", 150)+"x", strings.Repeat("é", 150)+"y")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) || a == b {
			return
		}
		x, y := shorten(a, b)
		if x == y {
			t.Errorf("%q and %q are both %q", a, b, x)
		}
		for _, s := range []string{x, y} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is cut within a character", s)
			}
		}
	})
}

// TestSecretsStayHidden puts one text in every place of a Secret where a value can be, on both sides and in objects
// that hold Secrets, and looks for it in every output.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery staple"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	tree := func(suffix string) []hydrate.Object {
		old := encoded
		if suffix != "" {
			old = base64.StdEncoding.EncodeToString([]byte(secret + suffix))
		}
		body := "metadata:\n  name: NAME\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{\"data\":\"" + old + "\"}'\n" +
			"data: {a: " + old + ", list: [" + old + ", {name: " + old + "}], file: \"" + secret + "\\n" + suffix + "\"}\n" +
			"stringData: {b: '" + secret + suffix + "', json: '{\"x\": \"" + secret + suffix + "\"}'}\nstringdata: " + secret + suffix + "\n"
		return objects(t, "apiVersion: v1\nkind: Secret\n"+strings.ReplaceAll(body, "NAME", "a")+
			"---\napiVersion: v1\nkind: Secret\n"+strings.ReplaceAll(body, "NAME", "only"+suffix)+
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\nbinaryData: {a: "+old+"}\n"+
			"---\napiVersion: example.com/v1\nkind: Template\nmetadata: {name: t}\nobjects:\n- "+
			strings.ReplaceAll("apiVersion: v1\nkind: Secret\n"+strings.TrimSuffix(strings.ReplaceAll(body, "NAME", "in"), "\n"), "\n", "\n  ")+"\n")
	}
	changes := compare(t, tree(""), tree("-new"), Options{All: true})
	if len(changes.Objects) != 5 {
		t.Fatalf("%d objects changed", len(changes.Objects))
	}
	for name, text := range outputs(t, changes) {
		for _, leak := range []string{secret, encoded[:12], base64.StdEncoding.EncodeToString([]byte(secret + "-new"))[:12], "battery"} {
			if i := strings.Index(text, leak); i >= 0 {
				t.Errorf("%s shows %q: …%s…", name, leak, text[max(0, i-80):i+len(leak)])
			}
		}
		if !strings.Contains(text, "«28 bytes hidden, hash ") || !strings.Contains(text, "«32 bytes hidden, hash ") {
			t.Errorf("%s does not say how long the values are", name)
		}
	}
	// A reference to a Secret is none.
	reference := objects(t, "apiVersion: example.com/v1\nkind: T\nmetadata: {name: t}\nfrom: {apiVersion: v1, kind: Secret, name: visible}")
	if text := outputs(t, compare(t, nil, reference, Options{}))["text"]; !strings.Contains(text, "name: visible") {
		t.Errorf("the name in a reference is hidden:\n%s", text)
	}
}

func writeJSON(b *bytes.Buffer, c Changes) error {
	encoder := json.NewEncoder(b)
	encoder.SetIndent("", "  ")
	return encoder.Encode(c)
}

// outputs writes changes in every way.
func outputs(t testing.TB, c Changes) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text":     func(b *bytes.Buffer) error { return c.WriteText(b, TextOptions{}) },
		"Markdown": func(b *bytes.Buffer) error { return c.WriteMarkdown(b, MarkdownOptions{}) },
		"JSON":     func(b *bytes.Buffer) error { return writeJSON(b, c) },
		"HTML":     func(b *bytes.Buffer) error { return c.WriteHTML(b, HTMLOptions{}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = b.String()
	}
	return out
}

func TestJSONReadsBack(t *testing.T) {
	t.Parallel()
	before, after := release(t)
	want := compare(t, before, after, Options{})
	var got Changes
	if err := json.Unmarshal([]byte(outputs(t, want)["JSON"]), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(outputs(t, want)["Markdown"], outputs(t, got)["Markdown"]); d != "" {
		t.Errorf("what was read back from JSON says something else:\n%s", d)
	}
	if empty := outputs(t, compare(t, before, before, Options{}))["JSON"]; strings.Contains(empty, "null") {
		t.Errorf("lists are null instead of empty:\n%s", empty)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	// A letter a line: the sides of each row, "." for none.
	for ops, want := range map[string]string{
		"-+": "ab", "--+": "ac b.", "-++": "ab .c", "-+-+": "ab cd", "--+-": "ac b. d.", "+-": ".a b.", " -+": "aa bc", "- +": "a. bb .c", "-@+": "a. b .c",
	} {
		var lines []Line
		for i, op := range strings.Split(ops, "") {
			lines = append(lines, Line{LineOp(op), string(rune('a' + i))})
		}
		var got []string
		for _, r := range rows(lines) {
			side := func(c htmlCell) string {
				if c.Class == "none" {
					return "."
				}
				return c.Head + c.Changed + c.Tail
			}
			got = append(got, r.Note+side(r.Left)+side(r.Right))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", ops, got, want)
		}
	}
}

func TestMarkedWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ before, after, want string }{
		{"image: app:v0.33.0", "image: app:v0.34.0", "image: app:v0.(33).0|image: app:v0.(34).0"},
		{"updates = true", "updates = false", "updates = (true)|updates = (false)"},
		{"a: größe", "a: grüße", "a: (größe)|a: (grüße)"},
		{"args: a", "args: a b", "args: a|args: a( b)"},
		{"something", "else", "something|else"},
	} {
		row := htmlRow{Left: htmlCell{Head: test.before}, Right: htmlCell{Head: test.after}}
		row.mark()
		show := func(c htmlCell) string {
			if c.Changed == "" {
				return c.Head + c.Tail
			}
			return c.Head + "(" + c.Changed + ")" + c.Tail
		}
		if got := show(row.Left) + "|" + show(row.Right); got != test.want {
			t.Errorf("%s; want %s", got, test.want)
		}
	}
}
