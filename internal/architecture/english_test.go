package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// place is a set of the kinds of text that a rule reads.
type place int

const (
	prose       place = 1 << iota // comments, string literals of several words, documents, scripts
	identifiers                   // the words of a name in Go: liveTag is read as «live tag»
	docs                          // doc comments of declarations
)

// english lists what is not written here, and what is written instead (CONTRIBUTING.md, «English»). A space in a pattern
// matches any white space; letter case is ignored.
var english = []struct {
	avoid  *regexp.Regexp
	unless *regexp.Regexp // matches of avoid that are right
	in     place
	say    string
}{
	{words(`\bwhoever\b`), nil, prose, "name who acts: «a user who …», «the caller»"},
	{words(`\btold\b`), nil, prose | identifiers, "say what the program does: «it reports …», «the run fails with …»"},
	{words(`\b(is|are|was|were|be|been|being|not|never) said\b`), nil, prose, "say what the program does: «it prints …»"},
	{words(`\bsaid\b`), nil, identifiers, "name the value: message, declared, printed"},
	{words(`\btells? (whether|of|how|which|what|why|apart)\b`), nil, prose, "«reports whether», «describes», «distinguishes»"},
	{words(`\bas [\w' ]{1,30} tells?\b`), nil, prose, "«according to …»"},
	{words(`\b(stands?|stood) (in|at|for|on|there|of|beside|above|below|before|behind|under)\b`), nil, prose, "«is in», «exists», «means»"},
	{words(`\bstands?\b`), nil, identifiers, "name what is true: exists, matches, valid"},
	{words(`\bnowhere\b`), nil, prose | identifiers, "«read-only», «dry run», «not found»"},
	{words(`\btrunk\b`), nil, prose | identifiers, "«policy ref»"},
	{words(`\bcouples?\b`), nil, prose | identifiers, "«comparison»"},
	{words(`(?-i:^Over$)`), nil, identifiers, "«expected»: the expected tree"},
	{words(`\bhorizons?\b`), nil, prose | identifiers, "name the limit: deadline, oldest, cutoff"},
	{words(`\bsooner\b`), nil, prose | identifiers, "«earlier», «before»"},
	{words(`\bdesks?\b`), nil, prose | identifiers, "name what it does"},
	{words(`\bsmuggl\w+`), nil, prose | identifiers, "«hidden», «injected», «extra»"},
	{words(`\bsettle[sd]?\b`), nil, prose | identifiers, "«resolve», «decide», «complete»"},
	{words(`\belsewhere\b`), nil, prose | identifiers, "name the place: «in another repository»"},
	{words(`\bstrangers?\b`), nil, identifiers, "name what is unknown: unknownKey, foreign"},
	{words(`\bwell( known)?\b`), words(`known$`), identifiers, "name the state: healthy, valid"},
	{words(`\bno matter\b`), nil, prose, "«whether or not», «for every»"},
	{words(`(there )?\b(is|are|was|were) no \w+`), words(`^there|no (longer|more|less|fewer|newer|older|later|earlier|larger|different)$`), prose, "«is not a …», «no … exists»"},
	{words(`\bthere (is|are|was|were) none\b`), nil, prose, "«no … exists»"},
	{words(`\bof which\b`), nil, prose, "«whose …», or two sentences"},
	{words(`\bjust (that|this)\b`), nil, prose, "«only …», «exactly this …»"},
	{words(`\b(is|are) theirs\b`), nil, prose, "name the owner"},
	{words(`^\w+ (tells|gives|is true|is whether|says (whether|how|what|which|why))\b`), nil, docs, "a verb of the field: «reports whether», «returns»"},
}

// words compiles a pattern.
func words(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + strings.ReplaceAll(pattern, " ", `\s+`))
}

func TestEnglish(t *testing.T) {
	t.Parallel()
	read := 0
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist", "dist-completions"}, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !readsEnglish(name) {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		read++
		for _, f := range faults(name, string(data)) {
			t.Errorf("%s:%d: %s", name, f.line, f.message)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read == 0 {
		t.Error("no file was read")
	}
}

// readsEnglish reports whether a file is ours to word. This file lists what is avoided, and is not read; neither is data
// of tests but for scripts.
func readsEnglish(name string) bool {
	switch path.Ext(name) {
	case ".go":
		return name != "internal/architecture/english_test.go"
	case ".txtar":
		return true
	case ".md", ".yaml", ".yml", ".sh", ".html", ".js", ".css":
		return !strings.Contains("/"+name, "/testdata/")
	}
	return name == "Makefile" || name == ".ci/run"
}

// text is what is read as a whole, so that a phrase is found across line breaks.
type text struct {
	place place
	line  int // of its first line in the file
	words string
}

type fault struct {
	line    int
	message string
}

// faults reads a file.
func faults(name, data string) []fault {
	texts, found := texts(name, data)
	for _, x := range texts {
		found = append(found, x.faults()...)
	}
	slices.SortStableFunc(found, func(a, b fault) int { return a.line - b.line })
	return found
}

// texts takes a file apart. The faults are those that no pattern finds.
func texts(name, data string) ([]text, []fault) {
	switch path.Ext(name) {
	case ".go":
		return goTexts(name, data)
	case ".txtar":
		return []text{{prose, 1, scriptProse(data)}}, nil
	}
	return []text{{prose, 1, data}}, nil
}

// scriptProse leaves of a script its comments, what it expects of outputs, and its files.
func scriptProse(data string) string {
	lines := strings.Split(data, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "-- ") {
			break
		}
		if !expect.MatchString(line) {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

func goTexts(name, data string) (found []text, faults []fault) {
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, []fault{{1, err.Error()}}
	}
	line := func(node ast.Node) int { return files.Position(node.Pos()).Line }
	for _, group := range tree.Comments {
		words := make([]string, len(group.List))
		for i, comment := range group.List {
			words[i] = strings.TrimPrefix(comment.Text, "//")
		}
		found = append(found, text{prose, line(group), strings.Join(words, "\n")})
	}
	for _, declaration := range tree.Decls {
		doc, declared := documented(declaration)
		if doc == nil {
			continue
		}
		found = append(found, text{docs, line(doc), doc.Text()})
		if ast.IsExported(declared) && !strings.HasSuffix(name, "_test.go") && !beginsWith(doc.Text(), declared) {
			faults = append(faults, fault{line(doc), "a doc comment begins with the name: «" + declared + " …»"})
		}
	}
	seen := make(map[string]bool)
	ast.Inspect(tree, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Ident:
			if !seen[node.Name] {
				found = append(found, text{identifiers, line(node), splitName(node.Name)})
			}
			seen[node.Name] = true
		case *ast.BasicLit:
			if node.Kind == token.STRING && strings.ContainsAny(node.Value, " \n") { // one word is a value, not prose
				found = append(found, text{prose, line(node), strings.ReplaceAll(node.Value, `\n`, "  ")})
			}
		}
		return true
	})
	return found, faults
}

// documented returns the doc comment of a declaration of one name, and the name.
func documented(declaration ast.Decl) (*ast.CommentGroup, string) {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		return d.Doc, d.Name.Name
	case *ast.GenDecl:
		if d.Lparen.IsValid() || len(d.Specs) != 1 {
			return nil, ""
		}
		switch s := d.Specs[0].(type) {
		case *ast.TypeSpec:
			return d.Doc, s.Name.Name
		case *ast.ValueSpec:
			return d.Doc, s.Names[0].Name
		}
	}
	return nil, ""
}

func beginsWith(doc, name string) bool {
	words := strings.Fields(doc)
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	return len(words) == 0 || strings.Trim(words[0], ",:;.") == name || strings.HasPrefix(words[0], name+"'") || words[0] == "Deprecated:"
}

var (
	camel  = regexp.MustCompile(`[A-Z]+[a-z0-9]*|[a-z0-9]+`)
	quoted = regexp.MustCompile(`«[^»]*»`)
	expect = regexp.MustCompile(`^(#|(! )?(stdout|stderr|grep) )`)
)

// splitName spells a name as words: liveTag as «live Tag».
func splitName(name string) string { return strings.Join(camel.FindAllString(name, -1), " ") }

// faults applies the rules. A word in «guillemets» is mentioned, not used.
func (x text) faults() (found []fault) {
	plain := quoted.ReplaceAllStringFunc(x.words, func(s string) string {
		return "«" + strings.Repeat("\n", strings.Count(s, "\n")) + "»"
	})
	for _, r := range english {
		if x.place&r.in == 0 {
			continue
		}
		for _, at := range r.avoid.FindAllStringIndex(plain, -1) {
			match := strings.Join(strings.Fields(plain[at[0]:at[1]]), " ")
			if r.unless == nil || !r.unless.MatchString(match) {
				found = append(found, fault{x.line + strings.Count(plain[:at[0]], "\n"), "«" + match + "»: " + r.say})
			}
		}
	}
	return found
}

// TestEnglishRules makes sure that the rules find what they are for, and nothing else.
func TestEnglishRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, data string
		want       string // lines of the faults
	}{
		{"a.md", "Nobody is\ntold. «whoever» may be quoted.\nIt is no URI; there is no key, and it is no longer live.", "2 3"},
		{"a.txtar", "# nowhere\nexec lockage -f nowhere\nstderr 'found nowhere'\n-- README --\nwhoever\n", "1 3 5"},
		{"a.go", "package a\n\n// Wrong tells\n// whether it is right.\nfunc Right() bool { return true }\n", "3 3 3"},
		{"a.go", "package a\n\n// Right is right.\nfunc Right() string {\n\treturn `one\nof which two` + \"trunk\"\n}\n", "6"},
		{"a.go", "package a\n\nvar (\n\tpushed, Over, over bool\n\twellKnown, goesWell any\n)\n", "4 5"},
	} {
		var lines []string
		for _, f := range faults(c.name, c.data) {
			lines = append(lines, strconv.Itoa(f.line))
		}
		if got := strings.Join(lines, " "); got != c.want {
			t.Errorf("%s\n%s\nfaults in lines %q, want %q: %v", c.name, c.data, got, c.want, faults(c.name, c.data))
		}
	}
}
