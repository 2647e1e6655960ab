package e2e

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/samplechart"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/sign"
)

var compare = struct {
	stages, registries, report, only *string
	runs, source                     *int
}{
	flag.String("stages", "3,30", "compare: numbers of stages"),
	flag.String("registries", "distribution,olareg", "compare: registries, each a process of its own"),
	flag.String("report", "", "compare: the folder of performance.md, whose table and plots are written anew"),
	flag.String("only", "", "compare: the program that runs, by its name; all for none"),
	flag.Int("runs", 5, "compare: measured runs of each program"),
	flag.Int("source", 0, "compare: size of what the source repository has beside the chart, in MB"),
}

// contenders make a release of all stages, each in its way. They run by turns, the first of each being the one that others are
// compared with.
var contenders = []contender{
	{name: "lockage", plain: false},
	{name: "shell", processes: 1},
	{name: "lockage, unencrypted key", plain: true},
	{name: "shell -P2, unencrypted key", processes: 2, plain: true},
}

type contender struct {
	name      string
	processes int  // of the shell's xargs; 0 for lockage
	plain     bool // the key is not encrypted
}

// TestCompare measures the cycle of a release, hydration and promotion of all stages with a CEL and a Rego gate, beside the
// shell pipeline of testdata/shell: with LOCKAGE_COMPARE=1, for a small chart and for the one in the folder LOCKAGE_CHART, with
// the values of LOCKAGE_VALUES.
func TestCompare(t *testing.T) {
	if os.Getenv("LOCKAGE_COMPARE") != "1" {
		t.Skip("it takes long: run `make bench-compare`")
	}
	bin := requireE2E(t)
	charts := []sampleChart{{"small", samplechart.Small()}}
	if dir := os.Getenv("LOCKAGE_CHART"); dir != "" {
		charts = append(charts, sampleChart{filepath.Base(dir), os.DirFS(dir)})
	}
	var results []comparison
	for kind := range strings.SplitSeq(*compare.registries, ",") {
		for _, chart := range charts {
			for number := range strings.SplitSeq(*compare.stages, ",") {
				n, err := strconv.Atoi(number)
				if err != nil {
					t.Fatal(err)
				}
				c := comparison{registry: kind, chart: chart.name, stages: n}
				if *compare.source > 0 {
					c.chart += fmt.Sprintf(", source of %d MB", *compare.source)
				}
				c.measure(t, bin, chart.files)
				t.Log("\n" + c.String())
				results = append(results, c)
			}
		}
	}
	if *compare.report != "" {
		report(t, *compare.report, results)
	}
}

type sampleChart struct {
	name  string
	files fs.FS
}

// comparison is what the contenders took in one setting.
type comparison struct {
	registry, chart string
	stages          int
	took            []taken // of each contender
}

// taken is what one contender took: times of every run, and of one run more the requests and memory.
type taken struct {
	contender
	hydrate, promote   []testworld.Consumption
	served             []time.Duration // processor time of the registry
	requests, promoted int             // sent to the registry, in all and by promotion

	// By lockage, of stages that are up to date: hydrate, and promote --ready.
	unchanged, ready []testworld.Consumption
}

func (c *comparison) measure(t *testing.T, bin string, chart fs.FS) {
	t.Helper()
	host, pid := serveRegistry(t, bin, c.registry)
	counted := testworld.Serve(t, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host}))
	contenders := slices.DeleteFunc(slices.Clone(contenders), func(by contender) bool { return *compare.only != "" && by.name != *compare.only })
	c.took = make([]taken, len(contenders))
	source := newSource(t, chart, *compare.source)
	for run := range 1 + *compare.runs {
		for i, contender := range contenders {
			took := &c.took[i]
			took.contender = contender
			name := fmt.Sprintf("run%d-%d", run, i)
			if run == 0 { // what is counted takes time
				cycle := newCycle(t, bin, source, counted.Host+"/"+name, c.stages, contender)
				counted.Forget()
				_, before := testworld.Measure(t, cycle.command("hydrate"))
				hydrated := len(counted.Requests(""))
				_, after := testworld.Measure(t, cycle.command("promote"))
				took.requests = len(counted.Requests(""))
				took.promoted = took.requests - hydrated
				took.hydrate, took.promote = append(took.hydrate, before), append(took.promote, after)
				if contender.processes == 0 {
					_, again := testworld.Measure(t, cycle.command("hydrate"))
					_, ready := testworld.Measure(t, cycle.command("ready"))
					took.unchanged, took.ready = append(took.unchanged, again), append(took.ready, ready)
				}
				cycle.check()
				continue
			}
			cycle := newCycle(t, bin, source, host+"/"+name, c.stages, contender)
			before := processorTime(t, pid)
			took.hydrate = append(took.hydrate, timed(t, cycle.command("hydrate")))
			took.promote = append(took.promote, timed(t, cycle.command("promote")))
			took.served = append(took.served, processorTime(t, pid)-before)
			if contender.processes == 0 {
				took.unchanged = append(took.unchanged, timed(t, cycle.command("hydrate")))
				took.ready = append(took.ready, timed(t, cycle.command("ready")))
			}
			cycle.check()
		}
	}
}

// timed runs a program, which must succeed, and looks at nothing while it runs.
func timed(t *testing.T, cmd *exec.Cmd) testworld.Consumption {
	t.Helper()
	begin := time.Now()
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%.2000s", cmd, err, output)
	}
	return testworld.Consumption{Processor: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Wall: time.Since(begin)}
}

// serveRegistry starts a registry as a process of its own.
func serveRegistry(t *testing.T, bin, kind string) (host string, pid int) {
	t.Helper()
	if kind == "distribution" {
		d := newDistribution(t)
		return d.addr, d.cmd.Process.Pid
	}
	addr := freeAddress(t)
	cmd := exec.Command(bin, "registry", "serve", "--addr", addr, "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(func() bool {
		response, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})
	return addr, cmd.Process.Pid
}

// processorTime returns what a running process has taken.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat := read(t, fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	var ticks time.Duration
	for _, field := range fields[11:13] { // user and system time, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// cycle is one release of one contender in a folder of its own, with nothing cached.
type cycle struct {
	t      *testing.T
	dir    string
	bin    string
	prefix string // of artifact repositories
	commit string // that is locked
	stages []string
	contender
}

func newCycle(t *testing.T, bin string, source source, prefix string, stages int, by contender) *cycle {
	t.Helper()
	c := &cycle{t: t, dir: t.TempDir(), bin: bin, prefix: prefix, commit: source.commit, contender: by}
	for i := range stages {
		c.stages = append(c.stages, fmt.Sprintf("s%03d", i+1))
	}
	if err := os.Symlink(source.bare, filepath.Join(c.dir, "source.git")); err != nil {
		t.Fatal(err)
	}
	c.gitops()
	repository(t, c.dir, "gitops-checkout", "gitops.git")
	testworld.Git(t, filepath.Join(c.dir, "gitops-checkout"), "remote", "add", "origin", filepath.Join(c.dir, "gitops.git"))
	return c
}

// source is the repository of a chart, which nobody changes.
type source struct {
	bare   string
	commit string // that is locked
}

// newSource makes a source repository with some megabytes of random bytes beside the chart.
func newSource(t *testing.T, chart fs.FS, megabytes int) source {
	t.Helper()
	dir := t.TempDir()
	checkout := filepath.Join(dir, "checkout")
	if err := os.CopyFS(filepath.Join(checkout, "chart"), chart); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	data := make([]byte, 1<<20)
	for i := range megabytes {
		_, _ = random.Read(data) // never fails
		testworld.Write(t, checkout, map[string]string{fmt.Sprintf("assets/%d/%d", i%16, i): string(data)})
	}
	s := source{filepath.Join(dir, "source.git"), repository(t, dir, "checkout", "source.git")}
	if err := os.RemoveAll(checkout); err != nil {
		t.Fatal(err)
	}
	return s
}

// repository commits a folder and makes a bare repository of it; it returns the commit.
func repository(t *testing.T, dir, checkout, bare string) string {
	t.Helper()
	folder := filepath.Join(dir, checkout)
	testworld.Git(t, folder, "init", "-q")
	testworld.Git(t, folder, "add", "-A", "-f")
	commit := testworld.Commit(t, folder, "first")
	testworld.Git(t, dir, "clone", "-q", "--bare", folder, bare)
	testworld.Serveable(t, filepath.Join(dir, bare))
	return string(commit)
}

// keys makes the key pairs of hydrator and promoter; the shell signs as the hydrator. It returns the public keys.
func (c *cycle) keys() (hydrator, promoter string) {
	c.t.Helper()
	newPair := testworld.KeyPair
	if !c.plain {
		newPair = func() (sign.KeyPair, error) { return sign.GenerateKeyPair([]byte(password)) }
	}
	public := map[string]string{}
	for _, role := range []string{"hydrator", "promoter"} {
		pair, err := newPair()
		if err != nil {
			c.t.Fatal(err)
		}
		testworld.Write(c.t, filepath.Join(c.dir, "keys"), map[string]string{role + ".key": string(pair.Private)})
		public[role] = string(pair.Public)
	}
	testworld.Write(c.t, filepath.Join(c.dir, "keys"), map[string]string{"hydrator.pub": public["hydrator"]})
	return public["hydrator"], public["promoter"]
}

func (c *cycle) gitops() {
	c.t.Helper()
	hydrator, promoter := c.keys()
	locked := testworld.Lock(c.commit)
	locked.Packaging.SourceRepo = "file://" + filepath.Join(c.dir, "source.git")
	locked.Packaging.SourcePath = "chart"
	file := string(lock.Format(locked))
	files := map[string]string{
		"locks/web/current.yaml":                  file,
		"locks/web/" + locked.ReleaseID + ".yaml": file,
		"keys/hydrator.pub":                       hydrator,
		"keys/promoter.pub":                       promoter,
		"policy/main.rego":                        "package main\n\ndeny contains \"a container is privileged\" if {\n\tsome c in input.spec.template.spec.containers\n\tc.securityContext.privileged\n}\n",
		"conftest/main.rego":                      "package main\n\ndeny contains \"a name is too long\" if count(input.metadata.name) > 253\n",
	}
	common := ""
	if name := os.Getenv("LOCKAGE_VALUES"); name != "" {
		common = read(c.t, name)
	}
	pipeline := fmt.Sprintf(`apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: web
lock: locks/web
artifacts: %[1]s/web-{stage}
render:
  releaseName: web
  namespace: web-{stage}
  kubeVersion: "1.34"
  values: ["values/{stage}.yaml"]
  assertImage: false
  allowSecrets: [%[2]s]
mirror: {branch: "stage/{stage}", path: deploy}
sign:
  hydrator: {key: "%[3]s/hydrator.key"}
  promoter: {key: "%[3]s/promoter.key"}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
stages:
`, c.prefix, os.Getenv("LOCKAGE_SECRETS"), filepath.Join(c.dir, "keys"))
	for _, stage := range c.stages {
		files["values/"+stage+".yaml"] = fmt.Sprintf("%s\nglobal: {stage: %s}\n", common, stage)
		pipeline += fmt.Sprintf("  - {name: %s, auto: true, gates: [{rego: policy}, {cel: 'objects.all(o, size(o.metadata.name) <= 253)'}]}\n", stage)
	}
	files["lockage.yaml"] = pipeline
	testworld.Write(c.t, filepath.Join(c.dir, "gitops-checkout"), files)
}

// command returns the program that does half of the cycle, hydrate or promote, or by lockage ready: promote what is ready.
func (c *cycle) command(verb string) *exec.Cmd {
	c.t.Helper()
	var cmd *exec.Cmd
	if c.processes > 0 {
		script, err := filepath.Abs("testdata/shell/release.sh")
		if err != nil {
			c.t.Fatal(err)
		}
		cmd = exec.Command("bash", script, verb, strconv.Itoa(len(c.stages)), strconv.Itoa(c.processes))
		cmd.Dir = c.dir
	} else {
		args := []string{verb}
		switch verb {
		case "promote":
			args = append(args, c.stages...)
		case "ready":
			args = []string{"promote", "--ready"}
		}
		cmd = exec.Command(c.bin, args...)
		cmd.Dir = filepath.Join(c.dir, "gitops-checkout")
	}
	home := filepath.Join(c.dir, "home")
	cmd.Env = testworld.Environ("HOME="+home, "PATH="+os.Getenv("PATH"), "COSIGN_PASSWORD="+password, "COMMIT="+c.commit, "PREFIX="+c.prefix)
	if c.plain {
		cmd.Env = append(cmd.Env, "PLAIN_KEY=1")
	}
	return cmd
}

// check makes sure that the last stage's branch is there, and the artifact live.
func (c *cycle) check() {
	c.t.Helper()
	last := c.stages[len(c.stages)-1]
	repository, tag := c.prefix+"/"+last, "live"
	if c.processes == 0 {
		repository, tag = c.prefix+"/web-"+last, last
	}
	out, err := exec.Command("crane", "ls", "--insecure", repository).CombinedOutput()
	if err != nil || !slices.Contains(strings.Fields(string(out)), tag) {
		c.t.Fatalf("%s has no tag %s: %v\n%s", repository, tag, err, out)
	}
	testworld.Git(c.t, filepath.Join(c.dir, "gitops.git"), "rev-parse", "--verify", "refs/heads/stage/"+last)
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Fatal(err)
	}
}
