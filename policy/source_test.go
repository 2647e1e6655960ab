package policy_test

import (
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

func TestSource(t *testing.T) {
	t.Parallel()
	gates := []pipeline.Gate{gate(t, "source", policy.SourceGate{By: []string{"developers", "robot"}})}
	key := testworld.Key(t).Identity().Author()
	for name, c := range map[string]struct {
		source policy.SignedSource
		result policy.Result
		reason string
	}{
		"signed":            {policy.SignedSource{By: key, Signers: map[string]sign.Author{"ci": key, "developers": key}}, policy.Pass, "is signed by developers (key " + key.Fingerprint()[:12] + ")"},
		"signed by another": {policy.SignedSource{By: key, Signers: map[string]sign.Author{"ci": key}}, policy.Fail, "it is that of ci"},
		"by an unknown key": {policy.SignedSource{By: key}, policy.Fail, "no identity has that key"},
		"not signed":        {policy.SignedSource{Unsigned: "it has no signature"}, policy.Fail, "it takes an ssh signature by developers or robot on commit 1234: it has no signature"},
		"not read":          {policy.SignedSource{}, policy.Fail, "no identity has that key"},
	} {
		f := policy.Facts{Commit: "1234", Source: c.source}
		for _, unchanged := range []bool{false, true} { // nothing carries over
			f.Unchanged = unchanged
			if r := policy.Gates(gates, pipeline.Waivers{}, f)[0]; r.Result != c.result || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%s: %s: %s", name, r.Result, r.Reason)
			}
		}
	}
	f := policy.Facts{Chart: "oci://ghcr.io/acme/redis:1.0.0", Source: policy.SignedSource{Unsigned: "none"}}
	if r := policy.Gates(gates, pipeline.Waivers{}, f)[0]; !strings.Contains(r.Reason, "it takes a cosign signature by developers or robot on chart oci://ghcr.io/acme/redis:1.0.0: none") {
		t.Errorf("a chart: %s", r.Reason)
	}
	if needs := policy.NeedsOf(gates); !needs.Source {
		t.Error("it does not ask who signed the commit")
	}
}
