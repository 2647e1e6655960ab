package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/oci"
)

// cmdCharts serves a folder over HTTP.
func cmdCharts(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "charts DIR")
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(server.Close)
	ts.Setenv("CHARTS", server.URL)
}

// cmdChartPush packs a chart, into a registry or a folder with an index.
func cmdChartPush(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "chart-push DIR oci://REPOSITORY|FOLDER")
	dir := ts.MkAbs(args[0])
	c, err := loader.LoadDir(dir)
	ts.Check(err)
	archive := packChart(ts, dir, c.Name())
	if repository, ok := strings.CutPrefix(args[1], "oci://"); ok {
		pushChart(ts, repository+"/"+c.Name(), c.Metadata.Version, archive)
		return
	}
	file := fmt.Sprintf("%s-%s.tgz", c.Name(), c.Metadata.Version)
	writeFile(ts, filepath.Join(ts.MkAbs(args[1]), file), string(archive))
	sum := sha256.Sum256(archive)
	index := map[string]any{"apiVersion": "v1", "entries": map[string]any{c.Name(): []any{map[string]any{
		"name": c.Name(), "version": c.Metadata.Version, "urls": []string{file}, "digest": hex.EncodeToString(sum[:]),
	}}}}
	data, err := yaml.Marshal(index)
	ts.Check(err)
	writeFile(ts, filepath.Join(ts.MkAbs(args[1]), "index.yaml"), string(data))
}

func packChart(ts *testscript.TestScript, dir, name string) []byte {
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	source := os.DirFS(dir)
	ts.Check(fs.WalkDir(source, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(source, file)
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: path.Join(name, file), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = tw.Write(data)
		return err
	}))
	ts.Check(tw.Close())
	ts.Check(gz.Close())
	return out.Bytes()
}

func pushChart(ts *testscript.TestScript, repository, tag string, archive []byte) {
	repo, err := oci.NewClient(oci.Options{}).Repository(repository)
	ts.Check(err)
	config := oci.Blob{MediaType: "application/vnd.cncf.helm.config.v1+json", Data: []byte("{}")}
	layer := oci.Blob{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Data: archive}
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": config.Descriptor(), "layers": []ocispec.Descriptor{layer.Descriptor()}})
	ts.Check(err)
	desc, err := repo.PushManifest(context.Background(), ocispec.MediaTypeImageManifest, manifest, config, layer)
	ts.Check(err)
	ts.Check(repo.Tag(context.Background(), desc, strings.ReplaceAll(tag, "+", "_")))
}

// cmdChartLock writes a Chart.lock with these versions, in the order of Chart.yaml, as `helm dependency update` does.
func cmdChartLock(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) < 2, "chart-lock DIR VERSION…")
	c, err := loader.LoadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	refuse(ts, len(c.Metadata.Dependencies) != len(args)-1, "chart-lock DIR VERSION…, a version for each dependency")
	lock := &chart.Lock{}
	for i, d := range c.Metadata.Dependencies {
		lock.Dependencies = append(lock.Dependencies, &chart.Dependency{Name: d.Name, Repository: d.Repository, Version: args[i+1]})
	}
	data, err := json.Marshal([2][]*chart.Dependency{c.Metadata.Dependencies, lock.Dependencies})
	ts.Check(err)
	sum := sha256.Sum256(data)
	lock.Digest = "sha256:" + hex.EncodeToString(sum[:])
	out, err := yaml.Marshal(lock)
	ts.Check(err)
	writeFile(ts, filepath.Join(ts.MkAbs(args[0]), "Chart.lock"), string(out))
}
