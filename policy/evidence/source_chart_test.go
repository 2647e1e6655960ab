package evidence_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// A signature on the artifact that has the locked archive counts, in either form, by any key of an identity, and nothing else.
func TestChartSignatures(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	file := s.files["keys/sre.pub"]
	file.Data = append(testworld.Key(t).PublicKey().PEM(), file.Data...) // any key of a file counts
	for name, c := range map[string]struct {
		change   func(chart pushed, c *lock.Chart)
		signers  string
		unsigned string
	}{
		"unsigned": {func(pushed, *lock.Chart) {}, "", "no signature by an identity is attached"},
		"older form": {func(chart pushed, _ *lock.Chart) {
			testworld.SignImage(t, chart.repository, chart.desc, s.keys["ci"], sign.Claim{Repository: "ghcr.io/acme/redis"})
		}, "ci robot", ""},
		"bundle":            {func(chart pushed, _ *lock.Chart) { s.state(chart, "sre", sign.PredicateSignature) }, "sre", ""},
		"another statement": {func(chart pushed, _ *lock.Chart) { s.state(chart, "sre", "https://acme.dev/scan/v1") }, "", "no signature by an identity"},
		"not in a registry": {func(_ pushed, c *lock.Chart) { c.Repo = "https://charts.example.com" }, "", "cosign signs charts in registries"},
		"another archive now": {func(chart pushed, c *lock.Chart) {
			s.state(chart, "sre", sign.PredicateSignature)
			c.Digest = s.image.Digest
		}, "", "has another archive now"},
		"gone": {func(_ pushed, c *lock.Chart) { c.Version = "2.0.0" }, "", "does not exist any more"},
	} {
		chart := s.push("charts/redis", name)
		manifest, err := chart.repository.ReadArtifact(t.Context(), chart.desc.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := chart.repository.Tag(t.Context(), chart.desc, "1.0.0_up3"); err != nil {
			t.Fatal(err)
		}
		locked := lock.Chart{Repo: "oci://" + strings.TrimSuffix(chart.repository.Name(), "/redis"), Name: "redis", Version: "1.0.0+up3", Digest: manifest.Layer.Digest}
		c.change(chart, &locked)
		r := s.request(p, gate(t, "source", policy.SourceGate{By: []string{"sre"}}))
		r.Lock = lock.Lock{Chart: locked, ReleaseID: locked.ReleaseID(), Packaging: lock.Packaging{Kind: lock.Packaged}}
		facts := s.collect(r)
		got := facts.Source
		if names := strings.Join(slices.Sorted(maps.Keys(got.Signers)), " "); names != c.signers || !strings.Contains(got.Unsigned, c.unsigned) || (got.Unsigned == "") != (c.unsigned == "") {
			t.Errorf("%s: %+v", name, got)
		}
		if facts.Chart != locked.String() {
			t.Errorf("%s: the facts name the chart %q", name, facts.Chart)
		}
	}
}
