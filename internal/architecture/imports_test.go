// Package architecture holds the import rules as tests: imports run downhill along the floor plan of ARCHITECTURE.md, and
// each large dependency has one home. A failure names the chain of imports that breaks the rule.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/lockage/lockage"

// floorPlan says for each of our packages which of our packages it may import; "*" means all. A package that does
// not exist yet breaks nothing; a package without a line does.
var floorPlan = map[string][]string{
	"internal/bounded":    nil,
	"internal/strictjson": nil,
	"internal/cachefile":  nil,
	"internal/lfs":        nil,
	"internal/loopback":   nil,
	"internal/memfs":      nil,
	"internal/memo":       nil,
	"internal/origin":     {"internal/loopback"},
	"internal/redact":     nil,
	"internal/retry":      nil,
	"internal/shell":      nil,
	"internal/terminal":   nil,
	"internal/webpage":    nil,
	"internal/startup":    nil,
	"internal/wholefile":  nil,
	"internal/strictyaml": nil,
	"internal/git":        nil,
	"internal/forge":      nil,

	"oci":            nil,
	"oci/registry":   nil,
	"sign":           {"oci", "internal/bounded", "internal/loopback"},
	"sign/idtoken":   nil,
	"sign/predicate": {"oci", "sign"},
	"sign/signtest":  nil,
	"ledger":         {"internal/git", "oci", "sign", "sign/predicate"},

	"hydrate/lock":              {"internal/strictyaml"},
	"hydrate/lock/remotelock":   {"hydrate/lock", "internal/git"},
	"hydrate/pipeline":          {"internal/strictyaml", "hydrate", "hydrate/lock"},
	"hydrate/pipeline/scaffold": {"hydrate/lock", "hydrate/pipeline"},
	"hydrate/workspace":         {"internal/git", "hydrate/pipeline", "hydrate/lock"},
	"hydrate":                   {"hydrate/lock"},
	"hydrate/helm":              {"hydrate", "hydrate/helm/engine", "hydrate/lock"},
	"hydrate/helm/engine":       {"hydrate"},
	"hydrate/helm/chartrepo":    {"oci"},
	"hydrate/kustomize":         {"hydrate"},
	"hydrate/worker":            {"hydrate"},
	"hydrate/schema":            {"hydrate"},
	"hydrate/plan":              {"hydrate/workspace", "hydrate", "hydrate/lock", "hydrate/pipeline", "hydrate/schema", "internal/git"},
	"hydrate/diff":              {"hydrate"},
	"hydrate/stagediff":         {"hydrate", "hydrate/diff", "hydrate/plan"},

	"policy":            {"oci", "sign/predicate", "hydrate/pipeline", "policy/cel", "policy/rego", "sign"},
	"policy/cel":        nil,
	"policy/rego":       nil,
	"policy/verify":     {"oci", "sign", "policy", "hydrate/lock", "ledger", "hydrate/pipeline", "internal/git", "internal/strictyaml"},
	"policy/evidence":   {"internal/git", "policy/rego", "policy/verify", "sign/predicate", "hydrate", "hydrate/diff", "hydrate/lock", "hydrate/pipeline", "oci", "policy", "sign"},
	"policy/policytest": {"sign/predicate", "policy/evidence", "policy/rego", "hydrate", "hydrate/diff", "hydrate/lock", "hydrate/pipeline", "internal/strictyaml", "oci", "policy", "sign"},

	"publish":             {"internal/forge", "hydrate/workspace", "hydrate", "hydrate/lock", "ledger", "hydrate/pipeline", "internal/git", "internal/strictyaml", "oci", "hydrate/plan", "policy", "publish/pullrequest", "sign", "policy/verify"},
	"publish/rebuild":     {"publish", "hydrate", "hydrate/lock", "hydrate/pipeline", "hydrate/plan", "ledger", "oci", "policy", "policy/verify", "sign"},
	"publish/copies":      {"oci", "policy", "sign"},
	"publish/pullrequest": {"internal/forge", "internal/git", "hydrate", "hydrate/diff", "ledger", "hydrate/pipeline"},

	"promote":        {"oci", "policy/evidence", "internal/forge", "hydrate/workspace", "hydrate/lock", "ledger", "hydrate/pipeline", "internal/git", "promote/live", "promote/notify", "policy", "publish", "publish/pullrequest", "sign", "sign/predicate", "policy/verify"},
	"promote/live":   {"hydrate/lock", "hydrate/workspace", "internal/strictyaml", "policy", "publish", "oci", "ledger", "hydrate/pipeline", "internal/git", "sign", "sign/predicate", "policy/verify"},
	"promote/notify": {"hydrate/pipeline", "promote/live", "publish", "sign/predicate"},
	"promote/prune":  {"oci", "hydrate/workspace", "hydrate/lock", "hydrate/pipeline", "promote/live", "ledger", "sign", "sign/predicate", "policy/verify"},
	"promote/repair": {"oci", "hydrate/workspace", "hydrate/lock", "ledger", "hydrate/pipeline", "internal/git", "promote/live", "promote/notify", "policy", "publish", "sign", "sign/predicate", "policy/verify"},
	"promote/doctor": {"hydrate/lock", "hydrate/pipeline", "hydrate/workspace", "internal/bounded", "internal/forge", "oci", "policy/verify", "sign"},
	"promote/proof":  {"hydrate/pipeline", "policy/evidence", "promote/live", "promote/repair", "sign"},
	"promote/health": {"oci", "sign/predicate"},
	"promote/board":  {"hydrate/diff", "hydrate/lock", "hydrate/pipeline", "hydrate/stagediff", "hydrate/workspace", "ledger", "policy", "policy/verify", "promote", "promote/live", "publish", "sign"},
	"promote/sides":  {"oci", "hydrate/lock", "ledger", "hydrate/pipeline", "hydrate/stagediff", "internal/git", "policy/verify", "promote/live"},

	"cmd/lockage": {"*"},

	"internal/demo":         {"*"},
	"internal/e2e":          {"*"},
	"internal/architecture": nil,
	"internal/model":        nil,
	"internal/quirks":       nil,
	"internal/samplechart":  nil,
	"internal/testworld":    {"hydrate/lock", "hydrate/pipeline", "internal/demo", "internal/git", "oci", "oci/registry", "policy", "sign"},
}

// plumbing may be imported by all: one idea each, which must not exist in two versions.
var plumbing = []string{"internal/bounded", "internal/cachefile", "internal/lfs", "internal/loopback", "internal/memfs", "internal/memo", "internal/origin", "internal/redact", "internal/retry", "internal/shell", "internal/strictjson", "internal/terminal", "internal/webpage", "internal/wholefile"}

// rooms are the top-level folders, from the top floor down. A package may import its own room and those behind it, so that
// a folder is read as a whole: no two rooms import each other. Packages below internal serve all rooms.
var rooms = []string{"cmd", "promote", "publish", "policy", "hydrate", "ledger", "sign", "oci"}

// onlyHomes lists the packages of ours that may import a dependency (any package at or below the path).
var onlyHomes = map[string][]string{
	"helm.sh/helm":                           {"hydrate/helm"},
	"sigs.k8s.io/kustomize":                  {"hydrate/kustomize"},
	"github.com/go-git":                      {"internal/git"},
	"github.com/sigstore":                    {"sign", "sign/signtest"},
	"oras.land/oras-go":                      {"oci"},
	"github.com/olareg/olareg":               {"oci/registry"},
	"github.com/google/go-containerregistry": {"oci", "sign"},
	"github.com/spf13":                       {"cmd/lockage"},
	"github.com/invopop/jsonschema":          {"hydrate/pipeline"},
	"github.com/google/cel-go":               {"policy/cel"},
	"github.com/open-policy-agent":           {"policy/rego"},
	"k8s.io/client-go":                       {"promote/health"},
	"k8s.io/kube-openapi":                    {"hydrate/schema"},
	"github.com/google/go-github":            {"internal/forge"},
	"gitlab.com/gitlab-org":                  {"internal/forge"},
	"code.gitea.io/sdk":                      {"internal/forge"},
}

// testsOnly lists the packages that no program may contain.
var testsOnly = []string{module + "/internal/testworld", module + "/sign/signtest", module + "/internal/quirks", "testing"}

// outOfReach lists what a package may not even reach through others.
var outOfReach = map[string][]string{
	"internal/strictyaml":    {"net/http", "os/exec"},
	"hydrate/lock":           {"net/http", "os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate/pipeline":       {"os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate":                {"os/exec", "helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate/helm":           {"github.com/go-git", "github.com/sigstore", "oras.land/oras-go/v2/registry/remote"},
	"hydrate/helm/chartrepo": {"helm.sh/helm", "github.com/go-git", "github.com/sigstore"},
	"hydrate/kustomize":      {"helm.sh/helm", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"hydrate/worker":         {"helm.sh/helm", "sigs.k8s.io/kustomize", "github.com/go-git", "github.com/sigstore", "oras.land"},
	"oci":                    {"helm.sh/helm", "github.com/go-git", "github.com/sigstore", "k8s.io"},
	"sign":                   {"helm.sh/helm", "github.com/go-git"},
}

// notByItself lists what a package may not import directly, although what it imports does: policy judges and reads nothing.
var notByItself = map[string][]string{
	"policy": {"context", "io", "net", "os", "path/filepath", "syscall", "crypto/rand", "math/rand"},
}

// noClock lists the packages that are given the time and never ask for it.
var noClock = []string{"hydrate", "hydrate/helm", "hydrate/helm/engine", "hydrate/kustomize", "hydrate/lock", "hydrate/pipeline", "policy"}

type goPackage struct {
	ImportPath  string
	Dir         string
	Imports     []string
	TestImports []string
	GoFiles     []string
	Error       *struct{ Err string }
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
				if !slices.Contains(allowed, "*") && !slices.Contains(allowed, own) && !slices.Contains(plumbing, own) {
					t.Errorf("%s -> %s: the floor plan lets it import %v only", name, own, allowed)
				}
			}
			if slices.Contains(testsOnly, imported) && name != "internal/testworld" && name != "sign/signtest" {
				t.Errorf("%s -> %s: only tests may import it", name, imported)
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

// TestRooms holds the order of the folders, in tests as well as in the program.
func TestRooms(t *testing.T) {
	t.Parallel()
	packages := load(t)
	for _, name := range ours(packages) {
		pkg := packages[module+"/"+name]
		for _, imported := range slices.Concat(pkg.Imports, pkg.TestImports) {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && upstairs(name, own) {
				t.Errorf("%s -> %s: a folder may import itself and those behind it: %v", name, own, rooms)
			}
		}
	}
	for _, c := range []struct {
		from, to string
		up       bool
	}{{"oci", "sign", true}, {"sign", "oci", false}, {"hydrate/plan", "hydrate", false}, {"hydrate", "internal/git", false}, {"policy/cel", "publish", true}} {
		if upstairs(c.from, c.to) != c.up {
			t.Errorf("%s -> %s: upstairs is %v", c.from, c.to, !c.up)
		}
	}
}

// upstairs reports whether an import of one package by another leads to an earlier one of the rooms.
func upstairs(from, to string) bool {
	room := func(name string) int { return slices.Index(rooms, strings.Split(name, "/")[0]) }
	return room(from) >= 0 && room(to) >= 0 && room(to) < room(from)
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

// TestHiddenState refuses init functions and exits outside of main, clocks where the time is passed in, and goroutines where no test
// would find a race.
func TestHiddenState(t *testing.T) {
	t.Parallel()
	packages := load(t)
	sequential := notRaced(t)
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
				case *ast.GoStmt:
					if slices.Contains(sequential, name) {
						t.Errorf("%s starts a goroutine: take %s out of SEQUENTIAL in the Makefile", where, name)
					}
				case *ast.SelectorExpr:
					if node.Sel.Name == "Go" && slices.Contains(sequential, name) {
						t.Errorf("%s starts goroutines: take %s out of SEQUENTIAL in the Makefile", where, name)
					}
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

// notRaced returns the packages that `make test` does not run under the race detector because they start no goroutine.
func notRaced(t *testing.T) []string {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(makefile), "\nSEQUENTIAL = ")
	list, _, found := strings.Cut(strings.ReplaceAll(list, "\\\n", " "), "\n")
	if !found {
		t.Fatal("the Makefile has no SEQUENTIAL")
	}
	return strings.Fields(list)
}

// load returns every package of the module and everything they import, tests aside.
func load(t *testing.T) map[string]goPackage {
	t.Helper()
	packages, err := list()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// list asks the go command, once.
var list = sync.OnceValues(func() (map[string]goPackage, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Imports,TestImports,GoFiles,Error", module+"/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	packages := make(map[string]goPackage)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg goPackage
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, err
		}
		packages[pkg.ImportPath] = pkg
	}
})

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
