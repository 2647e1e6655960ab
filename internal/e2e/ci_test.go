package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// servedRelease is what a release on GitHub serves, with a program in it.
type servedRelease struct {
	url, sum string // of its server, and the SHA-256 of the archive for this machine
	archive  string
}

const releaseVersion = "1.2.3"

// serveRelease serves a release that holds a program.
func serveRelease(t *testing.T, program string) servedRelease {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the archive is the one for linux_amd64")
	}
	var archive bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&archive, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	packed := tar.NewWriter(compressed)
	data := []byte(read(t, program))
	if err := packed.WriteHeader(&tar.Header{Name: "lockage", Mode: 0o755, Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	if _, err := packed.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	r := servedRelease{sum: fmt.Sprintf("%x", sha256.Sum256(archive.Bytes())), archive: "lockage_" + releaseVersion + "_linux_amd64.tar.gz"}
	files := map[string][]byte{r.archive: archive.Bytes(), "checksums.txt": fmt.Appendf(nil, "%064d  other.tar.gz\n%s  %s\n", 0, r.sum, r.archive)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/v"+releaseVersion+"/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// action is what this test reads of action.yml.
type action struct {
	Inputs map[string]struct {
		Default  string
		Required bool
	}
	Outputs map[string]struct{ Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID, Shell, Run string
			Env            map[string]string
		}
	}
}

var inputOf = regexp.MustCompile(`^\$\{\{ inputs\.([a-z0-9]+) \}\}$`)

// runAction does the steps of action.yml as a runner does, by the shell that they name. It returns the folder of the action's files
// GITHUB_PATH and GITHUB_OUTPUT.
func runAction(t *testing.T, inputs map[string]string) (files, output string, err error) {
	t.Helper()
	var a action
	if err := yaml.Unmarshal([]byte(read(t, "../../action.yml")), &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 1 || a.Runs.Steps[0].Shell != "bash" {
		t.Fatalf("action.yml: %+v", a.Runs)
	}
	files = t.TempDir()
	step := a.Runs.Steps[0]
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.Run) // as runners do
	cmd.Dir = files
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + files, "RUNNER_OS=Linux", "RUNNER_ARCH=X64", "RUNNER_TEMP=" + filepath.Join(files, "temp"),
		"GITHUB_PATH=" + filepath.Join(files, "path"), "GITHUB_OUTPUT=" + filepath.Join(files, "output"),
	}
	for name, value := range step.Env {
		if input := inputOf.FindStringSubmatch(value); input != nil {
			declared, ok := a.Inputs[input[1]]
			if !ok {
				t.Fatalf("action.yml has no input %s", input[1])
			}
			if value, ok = inputs[input[1]]; !ok {
				value = declared.Default
			}
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if strings.Contains(step.Run, "${{") {
		t.Error("an input is pasted into the script: it could be code there")
	}
	combined, err := cmd.CombinedOutput()
	return files, string(combined), err
}

// TestAction installs a release by the steps of the GitHub Action.
func TestAction(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	r := serveRelease(t, bin)
	with := func(more ...string) map[string]string {
		inputs := map[string]string{"version": releaseVersion, "releases": r.url}
		for i := 0; i < len(more); i += 2 {
			inputs[more[i]] = more[i+1]
		}
		return inputs
	}
	for name, inputs := range map[string]map[string]string{"by checksums.txt": with(), "by its own checksum": with("sha256", r.sum)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, output, err := runAction(t, inputs)
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			path := strings.TrimSpace(read(t, filepath.Join(files, "path")))
			if got := strings.TrimSpace(read(t, filepath.Join(files, "output"))); got != "path="+path {
				t.Errorf("the output is %q, and the path %q", got, path)
			}
			if shown, err := exec.Command(filepath.Join(path, "lockage"), "version").CombinedOutput(); err != nil || len(shown) == 0 {
				t.Errorf("the installed program: %v\n%s", err, shown)
			}
		})
	}
	for _, test := range []struct {
		name, want string
		inputs     map[string]string
	}{
		{"another archive", "has the SHA-256 " + r.sum, with("sha256", strings.Repeat("0", 64))},
		{"no such release", "has no v9.9.9/lockage_9.9.9_linux_amd64.tar.gz", with("version", "9.9.9")},
		{"a v", "without the v", with("version", "v1.2.3")},
		{"code", "without the v", with("version", "1.2.3$(touch hacked)")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			files, output, err := runAction(t, test.inputs)
			if err == nil || !strings.Contains(output, test.want) {
				t.Errorf("%v: %s\nlacks %q", err, output, test.want)
			}
			if _, err := os.Stat(filepath.Join(files, "path")); err == nil {
				t.Error("the program is on the PATH")
			}
		})
	}
}

// TestComponent runs the job of the GitLab component by sh, as a runner does.
func TestComponent(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	r := serveRelease(t, bin)
	run := func(inputs map[string]string) (string, error) {
		head, body, _ := strings.Cut(read(t, "../../templates/lockage.yml"), "\n---\n")
		var spec struct {
			Spec struct {
				Inputs map[string]struct{ Default, Regex string }
			}
		}
		if err := yaml.Unmarshal([]byte(head), &spec); err != nil {
			t.Fatal(err)
		}
		body = regexp.MustCompile(`\$\[\[ inputs\.([a-z0-9]+) \]\]`).ReplaceAllStringFunc(body, func(use string) string {
			name := strings.Fields(strings.TrimPrefix(use, "$[[ inputs."))[0]
			declared, ok := spec.Spec.Inputs[name]
			if !ok {
				t.Fatalf("no input %s", name)
			}
			if value, ok := inputs[name]; ok {
				return value
			}
			return declared.Default
		})
		var jobs map[string]struct {
			Variables            map[string]string
			BeforeScript, Script []string `yaml:",omitempty"`
			Before               []string `yaml:"before_script"`
		}
		if err := yaml.Unmarshal([]byte(body), &jobs); err != nil {
			t.Fatal(err)
		}
		job, ok := jobs["lockage"]
		if !ok || len(job.Script) != 1 {
			t.Fatalf("the component's jobs: %+v", jobs)
		}
		cmd := exec.Command("sh", "-c", strings.Join(append(job.Before, job.Script...), "\n"))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		for name, value := range job.Variables {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	for name, sum := range map[string]string{"by checksums.txt": `""`, "by its own checksum": r.sum} {
		output, err := run(map[string]string{"version": releaseVersion, "releases": r.url, "sha256": sum, "run": "lockage version -o json"})
		if err != nil || !strings.Contains(output, `"results"`) {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
	}
	output, err := run(map[string]string{"version": releaseVersion, "releases": r.url, "sha256": strings.Repeat("1", 64), "run": "echo it ran"})
	if err == nil || strings.Contains(output, "it ran") || !strings.Contains(output, "has the SHA-256 "+r.sum) {
		t.Errorf("another archive: %v\n%s", err, output)
	}
}

var workflowBlock = regexp.MustCompile("(?ms)^```yaml\n# (\\.github/workflows/[a-z-]+\\.ya?ml)\n(.*?)^```$")

// TestWorkflows asks actionlint about our workflows and those that the documents show, with the inputs of our action.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	requireE2E(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "action.yml"), read(t, "../../action.yml"))
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var workflows []string
	add := func(name, text string) {
		workflows = append(workflows, filepath.Join(dir, ".github/workflows", name))
		write(t, workflows[len(workflows)-1], regexp.MustCompile(`lockage/lockage@\S+`).ReplaceAllString(text, "./"))
	}
	ours, _ := filepath.Glob("../../.github/workflows/*.yml")
	for _, file := range ours {
		add(filepath.Base(file), read(t, file))
	}
	pages, _ := filepath.Glob("../../docs/*.md")
	howtos, _ := filepath.Glob("../../docs/howto/*.md")
	for _, page := range append(pages, howtos...) {
		for i, block := range workflowBlock.FindAllStringSubmatch(read(t, page), -1) {
			add(fmt.Sprintf("%s-%d.yml", strings.TrimSuffix(filepath.Base(page), ".md"), i), block[2])
		}
	}
	if len(ours) == 0 || len(workflows) < len(ours)+3 {
		t.Fatalf("workflows: %q", workflows)
	}
	cmd := exec.Command("actionlint", append([]string{"-no-color"}, workflows...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
