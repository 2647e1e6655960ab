package sides_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/sides"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sides.Kind{
		"production":                     sides.Stage,
		"git":                            sides.Stage,
		"git-12":                         sides.Stage, // too short for a release
		"git-1a2b":                       sides.Release,
		"git-" + strings.Repeat("0", 40): sides.Release,
		"live:production":                sides.Live,
		"branch:stage/production":        sides.Branch,
		"branch:live:x":                  sides.Branch,
		"ghcr.io/acme/web:production":    sides.Reference,
		"oci-layout:artifacts:v1":        sides.Reference,
		"ghcr.io/acme/web@sha256:" + strings.Repeat("0", 64): sides.Reference,
		"localhost/web@sha256:" + strings.Repeat("0", 64):    sides.Reference,
		"Production":       "",
		"":                 "",
		"-x":               "",
		"ghcr.io/acme/web": "", // a repository
	} {
		name, err := sides.Parse(text)
		if (err == nil) != (want != "") || err == nil && (name.Kind != want || name.Text != text) {
			t.Errorf("%q is %+v, %v; want %q", text, name, err, want)
		}
	}
}

// TestReleases checks how abbreviated ids of releases are completed, over two pipelines.
func TestReleases(t *testing.T) {
	t.Parallel()
	id := func(digits string) string { return "git-" + digits + strings.Repeat("0", 40-len(digits)) }
	files := fstest.MapFS{}
	var names []string
	for _, p := range []struct{ name, releases string }{{"api", "1234 12ab beef"}, {"web", "12ab cafe"}} {
		files[p.name+".yaml"] = &fstest.MapFile{Data: []byte("apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: " + p.name +
			"\nlock: locks/" + p.name + "\nartifacts: oci-layout:artifacts/" + p.name + "\nstages: [{name: staging}, {name: production}]\n")}
		for release := range strings.FieldsSeq(p.releases) {
			files["locks/"+p.name+"/"+id(release)+".yaml"] = &fstest.MapFile{} // found by its name alone
		}
		names = append(names, p.name+".yaml")
	}
	pipelines, err := pipeline.Load(files, policy.Kinds(), names...)
	if err != nil {
		t.Fatal(err)
	}
	finder := sides.Finder{Client: oci.NewClient(oci.Options{BaseDir: t.TempDir()}), Files: files, Pipelines: pipelines}
	for prefix, want := range map[string]string{
		"git-12ab": "api/staging api/production web/staging web/production",
		"git-beef": "api/staging api/production",
		"git-cafe": "web/staging web/production",
		"git-dead": "no pipeline has a lock of a release git-dead",
	} {
		side, _, err := finder.Find(t.Context(), named(t, prefix), named(t, prefix))
		var got []string
		for _, s := range side.Versions {
			got = append(got, s.Pipeline+"/"+s.Stage)
		}
		if text := strings.Join(got, " "); err == nil && text != want || err != nil && (!errors.Is(err, verify.ErrUnknown) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %s, %v; want %s", prefix, text, err, want)
		}
	}
}

func named(t *testing.T, text string) sides.Name {
	t.Helper()
	name, err := sides.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
