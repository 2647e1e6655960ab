package verify_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
)

func TestFind(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := s.repository("app").Name()
	digest := s.push(s.honest("production")).Digest.String()
	for name, c := range map[string]struct {
		query verify.Query
		want  []string // pipeline stage reference release
	}{
		"stage": {verify.Query{Artifact: "production"}, []string{
			"app production production." + release + " " + release,
			"other production production." + release + " " + release,
		}},
		"stage of a release": {verify.Query{Artifact: "staging", Release: "git-" + older}, []string{
			"app staging staging.git-" + older + " git-" + older,
			"other staging staging.git-" + older + " git-" + older,
		}},
		"tag of a release":        {verify.Query{Artifact: app + ":production." + release}, []string{"app production production." + release + " " + release}},
		"tag of an image":         {verify.Query{Artifact: app + ":staging.img-sha256-abc"}, []string{"app staging staging.img-sha256-abc "}},
		"live tag":                {verify.Query{Artifact: app + ":staging"}, []string{"app staging staging "}},
		"tag, and another stage":  {verify.Query{Artifact: app + ":staging", Stage: "production"}, []string{"app production staging "}},
		"tag, release said":       {verify.Query{Artifact: app + ":staging." + release, Release: "git-" + older}, []string{"app staging staging." + release + " git-" + older}},
		"digest":                  {verify.Query{Artifact: app + "@" + digest}, []string{"app production " + digest + " "}},
		"digest, stage said":      {verify.Query{Artifact: app + "@" + digest, Stage: "staging"}, []string{"app staging " + digest + " "}},
		"digest wins over a tag":  {verify.Query{Artifact: app + ":staging@" + digest}, []string{"app production " + digest + " "}},
		"of the other repository": {verify.Query{Artifact: s.repository("other").Name() + ":staging"}, []string{"other staging staging "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests, err := verify.Find(t.Context(), c.query, s.pipelines, s.files, testworld.Client(), s)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range requests {
				if want := s.repository(r.Pipeline.Name).Name(); r.Repository.Name() != want {
					t.Errorf("repository is %s, want %s", r.Repository.Name(), want)
				}
				got = append(got, strings.Join([]string{r.Pipeline.Name, r.Stage, r.Reference, r.Release}, " "))
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("requests are %q, want %q", got, c.want)
			}
		})
	}
}

func TestFindNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := s.repository("app").Name()
	h := s.honest("production")
	h.annotations = map[string]string{oci.AnnotationStage: "test"}
	foreign := s.push(h).Digest.String()
	for name, c := range map[string]struct {
		query verify.Query
		want  error
		says  string
	}{
		"unknown stage":            {verify.Query{Artifact: "test"}, pipeline.ErrNoStage, `"test"; the stages are production, staging`},
		"none":                     {verify.Query{}, pipeline.ErrNoStage, "the stages are production, staging"},
		"unknown repository":       {verify.Query{Artifact: s.Host + "/acme/unknown:staging"}, verify.ErrUnknown, "no pipeline keeps its artifacts in " + s.Host + "/acme/unknown"},
		"part of a repository":     {verify.Query{Artifact: s.Host + "/acme:staging"}, verify.ErrUnknown, "no pipeline keeps its artifacts in"},
		"repository without tag":   {verify.Query{Artifact: app}, verify.ErrUnknown, "add :TAG or @DIGEST"},
		"tag of another program":   {verify.Query{Artifact: app + ":v1"}, verify.ErrUnknown, "say which with --stage: staging, production"},
		"tag that is not there":    {verify.Query{Artifact: app + ":v1.2"}, oci.ErrNotFound, ""},
		"digest that is not there": {verify.Query{Artifact: app + "@" + image}, oci.ErrNotFound, ""},
		"digest of no known stage": {verify.Query{Artifact: app + "@" + foreign}, verify.ErrUnknown, `no stage "test"`},
		"stage that is not there":  {verify.Query{Artifact: app + ":staging", Stage: "test"}, verify.ErrUnknown, `no stage "test"`},
		"malformed digest":         {verify.Query{Artifact: app + "@sha256:abc"}, verify.ErrUnknown, ""},
		"only a tag":               {verify.Query{Artifact: ":staging"}, verify.ErrUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.find(c.query)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

// Where every stage has a repository of its own, a digest says which stage is meant, whatever its manifest claims.
func TestFindInARepositoryOfOneStage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.files["app.yaml"].Data = bytes.ReplaceAll(s.files["app.yaml"].Data, []byte("/acme/app"), []byte("/acme/app-{stage}"))
	var err error
	if s.pipelines, err = pipeline.Load(s.files, nil, "app.yaml"); err != nil {
		t.Fatal(err)
	}
	r, err := s.find(verify.Query{Artifact: s.Host + "/acme/app-production@" + image}) // nothing has that digest: it is not read
	if err != nil {
		t.Fatal(err)
	}
	if r.Stage != "production" || r.Reference != image {
		t.Errorf("stage is %q of %s, want production of %s", r.Stage, r.Reference, image)
	}
	if r, err = s.find(verify.Query{Artifact: "staging"}); err != nil {
		t.Fatal(err)
	}
	if want := s.Host + "/acme/app-staging"; r.Repository.Name() != want {
		t.Errorf("repository is %s, want %s", r.Repository.Name(), want)
	}
}
