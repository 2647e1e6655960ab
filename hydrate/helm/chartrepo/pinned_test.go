package chartrepo_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
)

// A pinned archive is fetched once and known by its digest, whatever the repository has later.
func TestPinned(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := packed(t, "web", "1.2.3", "a: 1"), packed(t, "web", "1.2.3", "a: 2")
	s.publish(first, "")
	f := fetcher(t, chartrepo.Options{})
	pinned := func(f *chartrepo.Fetcher, version, sum string) error {
		data, err := f.Pinned(t.Context(), s.URL+"/stable", "web", version, sum)
		if err == nil && sumOf(data) != sum {
			t.Errorf("got the archive %s", sumOf(data))
		}
		return err
	}
	for range 2 {
		if err := pinned(f, "1.2.3", sumOf(first)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count.Load(); n != 2 {
		t.Errorf("%d requests for an index and an archive", n)
	}
	s.publish(second, "")
	if err := pinned(f, "1.2.3", sumOf(first)); err != nil {
		t.Errorf("a cached archive: %v", err)
	}
	if err := pinned(f, "1.3.0", sumOf(first)); err == nil || !strings.Contains(err.Error(), "holds chart \"web\" of version \"1.2.3\"") {
		t.Errorf("a cached archive of another version: %v", err)
	}
	if err := pinned(fetcher(t, chartrepo.Options{}), "1.2.3", sumOf(first)); err == nil || !strings.Contains(err.Error(), "sha256:"+sumOf(second)+" now, and sha256:"+sumOf(first)+" is locked") {
		t.Errorf("an archive that was replaced: %v", err)
	}
	for _, want := range [][]byte{second, first} {
		s.publish(want, "")
		if data, err := f.Current(t.Context(), s.URL+"/stable", "web", "1.2.3"); err != nil || sumOf(data) != sumOf(want) {
			t.Errorf("what the repository has now: %v", err)
		}
	}
	for name, version := range map[string]string{"web": "9.9.9", "absent": "1.2.3"} {
		if _, err := f.Current(t.Context(), s.URL+"/stable", name, version); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "helm dependency") {
			t.Errorf("%s %s: %v", name, version, err)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.publish(packed(t, "web", "1.2.3", "a: 1"), "")
	f := fetcher(t, chartrepo.Options{})
	if versions, err := f.Versions(t.Context(), s.URL+"/stable", "web"); err != nil || !slices.Equal(versions, []string{"1.3.0", "1.2.3"}) {
		t.Error(versions, err)
	}
	if _, err := f.Versions(t.Context(), s.URL+"/stable", "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	r := testworld.NewRegistry(t, registry.Options{})
	at := strings.TrimSuffix(r.Repository(t, "charts/web").Name(), "/web")
	for _, tag := range []string{"1.2.3", "1.10.0_up3"} {
		pushChart(t, at+"/web", tag, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", packed(t, "web", "1.2.3", ""))
	}
	versions, err := f.Versions(t.Context(), "oci://"+at, "web")
	if slices.Sort(versions); err != nil || !slices.Equal(versions, []string{"1.10.0+up3", "1.2.3"}) {
		t.Error(versions, err)
	}
}
