package hydrate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate/lock"
)

func TestLockedAs(t *testing.T) {
	t.Parallel()
	var locked []lock.NamedImage
	for _, image := range []lock.Image{
		{Ref: "nginx:1", Digest: "nginx"},
		{Ref: "docker.io/acme/app:1", Digest: "app"},
		{Ref: "localhost:5000/acme/web:a", Digest: "web-a"},
		{Ref: "localhost:5000/acme/web:b", Digest: "web-b"},
		{Ref: "ghcr.io/acme/twice:a", Digest: "twice"},
		{Ref: "ghcr.io/acme/twice:b", Digest: "twice"},
	} {
		locked = append(locked, lock.NamedImage{Image: image})
	}
	for image, want := range map[string][]string{
		"nginx":                         {"nginx"},
		"nginx:2":                       {"nginx"},
		"library/nginx":                 {"nginx"},
		"docker.io/nginx:1":             {"nginx"},
		"index.docker.io/library/nginx": {"nginx"},
		"ghcr.io/nginx":                 nil,
		"acme/app":                      {"app"},
		"docker.io/acme/app:2":          {"app"},
		"docker.io/acme/app/more":       nil,
		"app":                           nil,
		"acme/app@" + webDigest:         nil,
		"acme/app:1@" + webDigest:       nil,
		"localhost:5000/acme/web:a":     {"web-a"},
		"localhost:5000/acme/web:b":     {"web-b"},
		"localhost:5000/acme/web":       {"web-a", "web-b"},
		"localhost/acme/web:a":          nil,
		"localhost/nginx":               nil,
		"DOCKER.IO/nginx":               {"nginx"},
		"docker.io:443/library/nginx":   {"nginx"},
		"registry-1.docker.io/acme/app": {"app"},
		"GHCR.IO/acme/twice":            {"twice"},
		"ghcr.io:443/acme/twice:a":      {"twice"},
		"ghcr.io:5000/acme/twice:a":     nil,
		"GHCR/acme/twice":               nil,
		"ghcr.io/acme/twice":            {"twice"},
		"":                              nil,
		"@":                             nil,
		":":                             nil,
	} {
		var got []string
		for _, l := range lockedAs(image, locked) {
			got = append(got, l.Digest.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", image, diff)
		}
	}
}
