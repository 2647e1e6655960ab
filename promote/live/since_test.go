package live

import (
	"testing"
	"time"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// What was live may be gone, its tag or branch deleted, by the time that its history is read.
func TestSinceOfWhatIsGone(t *testing.T) {
	t.Parallel()
	repository := testworld.NewRegistry(t, registry.Options{}).Repository(t, "web")
	to := predicate.Artifact{Digests: oci.Digests{Content: "c"}}
	newest := Promotion{Promotion: predicate.Promotion{From: &to, To: to}, Since: time.Unix(1, 0)}
	stage := Stage{Claim: sign.Claim{Stage: "production"}, Artifacts: repository}
	if got, err := since(t.Context(), stage, newest, time.Unix(2, 0)); err != nil || !got.Equal(newest.Since) {
		t.Errorf("%s, %v", got, err)
	}
}
