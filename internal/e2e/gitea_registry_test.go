package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// TestGiteaRegistry hydrates, promotes, rolls back, repairs and prunes in the container registry of a forge, which has users, a token
// service and packages instead of repositories.
func TestGiteaRegistry(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	host := strings.TrimPrefix(g.URL, "http://")
	w := newWorld(t, bin, startOlareg(t)) // the application's image is in another one
	entry := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	}
	write(t, w.path("home", ".docker", "config.json"), fmt.Sprintf(`{"auths":{"%s/acme":{"auth":%q},"%[1]s/other":{"auth":%q}}}`,
		host, entry(g.Admin.Name, g.Admin.Token), entry("eve", "wrong")))
	pipeline := w.path("gitops", "lockage.yaml")
	write(t, pipeline, strings.Replace(read(t, pipeline), "artifacts: "+w.registry, "artifacts: "+host, 1))
	w.promotable()

	first := w.hydrate()
	for _, s := range first {
		if s.Action != "pushed" || !strings.HasPrefix(s.Reference, host+"/acme/") {
			t.Fatalf("%+v", s)
		}
	}
	if again := w.hydrate(); again[0].Action != "unchanged" {
		t.Errorf("a second run: %+v", again[0])
	}
	w.command("gitops", bin, "verify", "staging")
	w.command("gitops", bin, "promote", "staging")
	w.release()
	w.hydrate()
	w.command("gitops", bin, "promote", "staging")
	w.command("gitops", bin, "verify", "live:staging")
	w.command("gitops", bin, "rollback", "staging")
	w.command("gitops", bin, "pull", first[0].Reference, w.path("pulled"))
	w.command("gitops", bin, "repair")
	w.command("gitops", bin, "prune", "--keep", "1")
	w.command("gitops", bin, "history", "staging")
	w.command("gitops", bin, "verify", "live:staging")
}
