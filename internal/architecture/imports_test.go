// Package architecture holds the import rules as tests: imports run downhill along the floor plan of ARCHITECTURE.md, and
// each large dependency has one home. A failure names the chain of imports that breaks the rule.
package architecture

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lockage/lockage"

// floorPlan says for each of our packages which of our packages it may import; "*" stands for all. A package that does
// not exist yet breaks nothing; a package without a line does.
var floorPlan = map[string][]string{
	"internal/strictyaml": nil,
	"internal/git":        nil,
	"hydrate/lock":        {"internal/strictyaml"},
	"hydrate/pipeline":    {"internal/strictyaml", "hydrate/lock"},
	"hydrate":             {"hydrate/lock"},
	"hydrate/helm":        {"hydrate"},
	"hydrate/kustomize":   {"hydrate"},
	"hydrate/schema":      {"hydrate"},
	"charts":              {"oci"},
	"hydrate/diff":        {"hydrate"},
	"hydrate/mirror":      {"internal/git", "oci"},
	"oci":                 nil,
	"oci/registry":        nil,
	"artifact":            nil,
	"sign":                {"oci"},
	"record":              {"sign"},
	"attestation":         {"sign"},
	"policy":              {"artifact", "attestation", "hydrate/pipeline", "policy/cel", "policy/rego", "sign"},
	"policy/cel":          nil,
	"policy/rego":         nil,
	"policy/cases":        {"attestation", "evidence", "hydrate", "hydrate/diff", "hydrate/lock", "hydrate/pipeline", "internal/strictyaml", "policy", "sign"},
	"forge":               nil,
	"pullrequest":         {"forge", "hydrate", "hydrate/diff"},
	"health":              {"artifact", "attestation"},
	"live":                {"artifact", "hydrate/mirror", "hydrate/pipeline", "internal/git", "oci", "record", "sign", "verify"},
	"evidence":            {"attestation", "hydrate", "hydrate/diff", "hydrate/lock", "hydrate/pipeline", "oci", "policy", "sign"},
	"prune":               {"artifact", "gitops", "hydrate/lock", "hydrate/pipeline", "live", "oci", "record", "sign", "verify"},
	"promotion":           {"artifact", "evidence", "forge", "gitops", "hydrate/diff", "hydrate/lock", "hydrate/mirror", "hydrate/pipeline", "internal/git", "live", "oci", "policy", "pullrequest", "record", "sign", "verify"},
	"gitops":              {"internal/git", "hydrate/pipeline", "hydrate/lock"},
	"locking":             {"hydrate/lock", "internal/git"},
	"plan":                {"gitops", "hydrate", "hydrate/lock", "hydrate/pipeline", "hydrate/schema", "internal/git"},
	"review":              {"hydrate", "hydrate/diff", "plan"},
	"publish":             {"artifact", "hydrate", "hydrate/lock", "hydrate/pipeline", "oci", "sign", "policy", "verify"},
	"verify":              {"artifact", "oci", "sign", "policy", "hydrate/lock", "hydrate/mirror", "hydrate/pipeline", "internal/git"},
	"hydration":           {"artifact", "forge", "gitops", "hydrate/diff", "hydrate/lock", "hydrate/mirror", "hydrate/pipeline", "internal/git", "internal/strictyaml", "oci", "plan", "publish", "pullrequest", "sign", "verify"},
	"demo":                {"*"},
	"cmd/lockage":         {"*"},

	"e2e":                   {"*"},
	"internal/architecture": nil,
	"internal/samplechart":  nil,
	"internal/testkey":      {"sign"},
}

// onlyHomes says which of our packages may import a dependency (any package at or below the path).
var onlyHomes = map[string][]string{
	"helm.sh/helm":                           {"hydrate/helm"},
	"sigs.k8s.io/kustomize":                  {"hydrate/kustomize"},
	"github.com/go-git":                      {"internal/git"},
	"github.com/sigstore":                    {"sign"},
	"oras.land/oras-go":                      {"oci"},
	"github.com/olareg/olareg":               {"oci/registry"},
	"github.com/google/go-containerregistry": {"oci", "sign"},
	"github.com/spf13":                       {"cmd/lockage"},
	"github.com/invopop/jsonschema":          {"hydrate/pipeline"},
	"github.com/google/cel-go":               {"policy/cel"},
	"github.com/open-policy-agent":           {"policy/rego"},
	"k8s.io/client-go":                       {"health"},
	"github.com/google/go-github":            {"forge"},
	"gitlab.com/gitlab-org":                  {"forge"},
	"code.gitea.io/sdk":                      {"forge"},
}

// outOfReach says what a package may not even reach through others.
var outOfReach = map[string][]string{
	"internal/strictyaml": {"net/http", "os/exec"},
	"hydrate/lock":        {"net/http", "os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate/pipeline":    {"os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate":             {"os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate/helm":        {"github.com/go-git", "github.com/sigstore", "oras.land/oras-go/v2/registry/remote"},
	"charts":              {"helm.sh/helm", "github.com/go-git", "github.com/sigstore"},
	"hydrate/kustomize":   {"helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"oci":                 {"helm.sh/helm", "github.com/go-git", "github.com/sigstore", "k8s.io"},
	"sign":                {"helm.sh/helm", "github.com/go-git"},
}

// notByItself says what a package may not import directly, although what it imports does: policy judges and reads nothing.
var notByItself = map[string][]string{
	"policy": {"context", "io", "net", "os", "path/filepath", "syscall", "crypto/rand", "math/rand"},
}

// noClock lists the packages that are given the time and never ask for it.
var noClock = []string{"hydrate", "hydrate/helm", "hydrate/kustomize", "hydrate/lock", "hydrate/pipeline", "policy"}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
	Error      *struct{ Err string }
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages := load(t)
	for _, name := range ours(packages) {
		pkg := packages[module+"/"+name]
		allowed, known := floorPlan[name]
		if !known {
			t.Errorf("%s has no line in the floor plan: add it here and to ARCHITECTURE.md", name)
		}
		for _, imported := range pkg.Imports {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, "*") && !slices.Contains(allowed, own) {
					t.Errorf("%s -> %s: the floor plan lets it import %v only", name, own, allowed)
				}
			}
			for dependency, homes := range onlyHomes {
				if within(imported, dependency) && !slices.Contains(homes, name) {
					t.Errorf("%s -> %s: its only home is %v", name, imported, homes)
				}
			}
			for _, refused := range notByItself[name] {
				if within(imported, refused) {
					t.Errorf("%s -> %s: %s is pure", name, imported, name)
				}
			}
		}
		for _, refused := range outOfReach[name] {
			if chain := reach(packages, pkg.ImportPath, refused); chain != nil {
				t.Errorf("%s reaches %s: %s", name, refused, strings.Join(chain, " -> "))
			}
		}
	}
}

// TestReach makes sure that the walk finds what it looks for: without it a typing error would pass as a clean house.
func TestReach(t *testing.T) {
	t.Parallel()
	packages := map[string]goPackage{
		"a":       {Imports: []string{"b", "c"}},
		"b":       {Imports: []string{"a"}},
		"c":       {Imports: []string{"far/off"}},
		"far/off": {},
		"farther": {},
	}
	if got := strings.Join(reach(packages, "a", "far"), " "); got != "a c far/off" {
		t.Errorf("chain %q", got)
	}
	for _, absent := range []string{"fart", "a/b"} {
		if got := reach(packages, "a", absent); got != nil {
			t.Errorf("%s: chain %v", absent, got)
		}
	}
}

// TestHiddenState refuses init functions and exits outside of main, and clocks where the time is passed in.
func TestHiddenState(t *testing.T) {
	t.Parallel()
	packages := load(t)
	for _, name := range ours(packages) {
		pkg := packages[module+"/"+name]
		for _, file := range pkg.GoFiles {
			where := path.Join(name, file)
			tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.FuncDecl:
					if node.Recv == nil && node.Name.Name == "init" {
						t.Errorf("%s has an init function", where)
					}
				case *ast.SelectorExpr:
					receiver, ok := node.X.(*ast.Ident)
					if !ok {
						break
					}
					switch receiver.Name + "." + node.Sel.Name {
					case "os.Exit", "log.Fatal", "log.Fatalf":
						if where != "cmd/lockage/main.go" {
							t.Errorf("%s ends the process: return an error", where)
						}
					case "time.Now", "time.Since", "time.Until":
						if slices.Contains(noClock, name) {
							t.Errorf("%s reads the clock: let the caller pass the time in", where)
						}
					}
				}
				return true
			})
		}
	}
}

// load asks the go command for every package of the module and everything they import, tests aside.
func load(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Imports,GoFiles,Error", module+"/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := make(map[string]goPackage)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg goPackage
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages[pkg.ImportPath] = pkg
	}
}

// ours lists our packages, without the module's prefix, in order.
func ours(packages map[string]goPackage) []string {
	var names []string
	for importPath := range packages {
		if name, ok := strings.CutPrefix(importPath, module+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reach returns the shortest chain of imports that leads from one package to one at or below the refused path, or nil.
func reach(packages map[string]goPackage, from, refused string) []string {
	chains := map[string][]string{from: {from}}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range packages[queue[0]].Imports {
			if _, seen := chains[imported]; seen {
				continue
			}
			chain := append(slices.Clone(chains[queue[0]]), imported)
			if within(imported, refused) {
				return chain
			}
			chains[imported] = chain
			queue = append(queue, imported)
		}
	}
	return nil
}

func within(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}
