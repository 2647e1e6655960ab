package helm

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"
	engine3 "helm.sh/helm/v3/pkg/engine"
	engine4 "helm.sh/helm/v4/pkg/engine"

	"github.com/lockage/lockage/hydrate"
)

// kinds says of every function that Helm's templates know what its result depends on beside its arguments. A function that
// is added upstream needs a line, and one of ours if it is not pure.
var kinds = map[string]string{
	"clock":    "now ago date date_in_zone dateInZone htmlDate htmlDateInZone durationRound",
	"random":   "randAlpha randAlphaNum randNumeric randAscii randBytes randInt shuffle uuidv4 bcrypt htpasswd encryptAES",
	"generate": "genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey",
	"order":    "keys values merge mergeOverwrite",
	"address":  "printf",
	"host":     "env expandenv getHostByName toDate mustToDate osBase osClean osDir osExt osIsAbs",
	"render":   "include tpl required fail lookup",
	"pure": `abbrev abbrevboth add add1 add1f addf adler32sum all any append atoi b32dec b32enc b64dec b64enc base biggest buildCustomCert
		camelcase cat ceil chunk clean coalesce compact concat contains dateModify date_modify decryptAES deepCopy deepEqual default
		derivePassword dict dig dir div divf duration empty ext first float64 floor fromJson fromJsonArray fromToml fromYaml fromYamlArray get
		has hasKey hasPrefix hasSuffix hello indent initial initials int int64 isAbs join kebabcase kindIs kindOf last list lower max maxf min
		minf mod mul mulf mustAppend mustChunk mustCompact mustDateModify mustDeepCopy mustFirst mustFromJson mustHas mustInitial
		mustLast mustMerge mustMergeOverwrite mustPrepend mustPush mustRegexFind mustRegexFindAll mustRegexMatch mustRegexReplaceAll
		mustRegexReplaceAllLiteral mustRegexSplit mustRest mustReverse mustSlice mustToJson mustToPrettyJson mustToRawJson mustUniq
		mustWithout must_date_modify nindent nospace omit pick pluck plural prepend push quote regexFind regexFindAll regexMatch
		regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit repeat replace rest reverse round semver semverCompare seq set
		sha1sum sha256sum sha512sum slice snakecase sortAlpha split splitList splitn squote sub subf substr swapcase ternary title toDecimal
		toJson toPrettyJson toRawJson toString toStrings toToml toYaml toYamlPretty trim trimAll trimPrefix trimSuffix trimall trunc tuple
		typeIs typeIsLike typeOf uniq unixEpoch unset until untilStep untitle upper urlJoin urlParse without wrap wrapWith`,
	"pure, Helm 4": `mustToYaml mustToToml mustToDuration durationSeconds durationMilliseconds durationMicroseconds durationNanoseconds
		durationMinutes durationHours durationDays durationWeeks durationRoundTo durationTruncateTo`,
	"pure, text/template": "and call html index js len not or print println urlquery eq ge gt le lt ne",
}

// upstreamFunctions returns the names of the functions of one version of Helm: sprig's, and those that its source adds.
func upstreamFunctions(t *testing.T, module string) map[string]bool {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for name := range sprig.GenericFuncMap() {
		names[name] = true
	}
	for _, file := range []string{"funcs.go", "engine.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "pkg/engine", file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			var key ast.Expr
			switch node := node.(type) {
			case *ast.KeyValueExpr: // of template.FuncMap{…}
				key = node.Key
			case *ast.IndexExpr: // funcMap["…"] = …
				key = node.Index
			}
			if literal, ok := key.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				name, err := strconv.Unquote(literal.Value)
				if err == nil && !slices.Contains([]string{"Chart", "Files", "Release", "Capabilities", "Values", "Subcharts", "Template", "Name", "BasePath", "IsRoot", "Error"}, name) {
					names[name] = true
				}
			}
			return true
		})
	}
	return names
}

func TestEveryFunctionHasAKind(t *testing.T) {
	t.Parallel()
	kind := map[string]string{}
	for k, names := range kinds {
		for name := range strings.FieldsSeq(names) {
			if kind[name] != "" {
				t.Errorf("%s has two kinds", name)
			}
			kind[name] = k
		}
	}
	called := calledFunctions(t)
	for version, module := range map[int]string{3: "helm.sh/helm/v3", 4: "helm.sh/helm/v4"} {
		names := upstreamFunctions(t, module)
		if len(names) < 200 || !names["toYaml"] || !names["required"] {
			t.Fatalf("%s: read %d names", module, len(names))
		}
		for name := range names {
			if kind[name] == "" {
				t.Errorf("%s knows %s: what does its result depend on?", module, name)
			}
		}
		for name, k := range kind {
			known := names[name] || k == "pure, text/template" || name == "printf" || k == "pure, Helm 4" && version == 3
			if !known {
				t.Errorf("%s does not know %s", module, name)
			}
		}
	}
	for name, k := range kind {
		if !called[name] && k != "generate" && !slices.Contains([]string{"env", "expandenv", "call", "fail"}, name) {
			t.Errorf("testdata/functions.txtar does not call %s", name)
		}
	}
}

// calledFunctions returns the words of the templates in testdata/functions.txtar.
func calledFunctions(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("testdata/functions.txtar")
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, line := range regexp.MustCompile(`\{\{.*\}\}`).FindAllString(string(data), -1) {
		for _, word := range regexp.MustCompile(`\w+`).FindAllString(line, -1) {
			called[word] = true
		}
	}
	return called
}

// TestFilesEqualHelms compares what templates print, byte for byte, with what Helm's own engines print in process.
func TestFilesEqualHelms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"functions", "kitchen-sink"} {
		for _, version := range []int{3, 4} {
			t.Run(name+" "+strconv.Itoa(version), func(t *testing.T) {
				t.Parallel()
				dir := chartDir(t, name)
				if version == 4 {
					addTemplates4(t, dir)
				}
				opened, err := Renderer{}.Open(t.Context(), folder(os.DirFS(dir)))
				if err != nil {
					t.Fatal(err)
				}
				p, ok := opened.(*Package)
				if !ok {
					t.Fatalf("%T", opened)
				}
				request := request
				request.Helm = version
				d, err := dialectOf(request)
				if err != nil {
					t.Fatal(err)
				}
				root, values, capabilities, err := d.instance(p, request, map[string]any{})
				if err != nil {
					t.Fatal(err)
				}
				ours, err := p.execute(t.Context(), d, root, values, capabilities, request)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(helms(t, p, request), ours.Files); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// addTemplates4 adds the templates that Helm 4 alone can render.
func addTemplates4(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "templates4", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Rename(file, filepath.Join(dir, "templates", filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
}

// helms renders a chart by Helm's own engine.
func helms(t *testing.T, p *Package, request hydrate.Request) map[string]string {
	t.Helper()
	var files map[string]string
	var err error
	if request.Helm == 3 {
		c, values := values3(t, p, request)
		files, err = engine3.Engine{}.Render(c, values)
	} else {
		c, values := values4(t, p, request)
		files, err = engine4.Engine{}.RenderWithContext(t.Context(), c, values)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestValuesOfSeveralDocuments(t *testing.T) {
	t.Parallel()
	fsys := chartFS("values.yaml", "a: {x: 1}\n---\na: {w: 2}\n", "templates/a.yaml", "a: {{ .Values | toJson }}")
	for version, want := range map[int]string{3: `a: {"a":{"x":1,"z":3}}`, 4: `a: {"a":{"w":2,"x":1,"z":3},"b":4}`} {
		request := request
		request.Helm, request.Values = version, []hydrate.File{{Path: "v", Data: []byte("a: {z: 3}\n---\nb: 4\n")}}
		rendered, err := renderFS(t, fsys, request)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(rendered.Manifests[0].Data)); got != want {
			t.Errorf("helm %d: %s, want %s", version, got, want)
		}
	}
}

// TestKeptBlanks: a literal block keeps the blank lines at the end of a document in Helm 4 alone.
func TestKeptBlanks(t *testing.T) {
	t.Parallel()
	fsys := chartFS("templates/a.yaml", "---\na: |+\n  x\n\n---b: 1\n--- \n---\nc: 1\n\n")
	for version, want := range map[int][]string{3: {"a: |+\n  x\n", "b: 1\n", "---\nc: 1\n"}, 4: {"a: |+\n  x\n\n\n", "b: 1\n\n", "c: 1\n\n\n"}} {
		request := request
		request.Helm = version
		rendered, err := renderFS(t, fsys, request)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range rendered.Manifests {
			got = append(got, string(m.Data))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("helm %d: %s", version, diff)
		}
	}
}
