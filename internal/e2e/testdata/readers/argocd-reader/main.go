// Argocd reads manifests as Argo CD's repo-server does, and prints them as JSON, one a line.
//
//	argocd-reader [-plain-http] [-checkout DIR] APPLICATION
//
// APPLICATION is a file with an Application. Its source is fetched from the OCI registry, or found in a checkout of its repository.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	apppathutil "github.com/argoproj/argo-cd/v3/util/app/path"
	"github.com/argoproj/argo-cd/v3/util/git"
	utilio "github.com/argoproj/argo-cd/v3/util/io"
	"github.com/argoproj/argo-cd/v3/util/oci"
)

// mediaTypes are the layers that a repo-server accepts unless it is configured otherwise.
var mediaTypes = []string{
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.cncf.helm.chart.content.v1.tar+gzip",
}

func main() {
	plain := flag.Bool("plain-http", false, "registry without TLS")
	checkout := flag.String("checkout", "", "folder of a Git source")
	flag.Parse()
	if err := run(context.Background(), flag.Arg(0), *checkout, *plain); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file, checkout string, plain bool) error {
	scratch, err := os.MkdirTemp("", "argocd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.Setenv("TMPDIR", scratch); err != nil { // Argo CD leaves archives there
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var app v1alpha1.Application
	if err := yaml.UnmarshalStrict(data, &app); err != nil {
		return err
	}
	repo := &v1alpha1.Repository{Repo: app.Spec.Source.RepoURL, InsecureOCIForceHttp: plain}
	root, revision := checkout, app.Spec.Source.TargetRevision
	if app.Spec.Source.IsOCI() {
		extracted, closer, err := extract(ctx, repo, &revision)
		if err != nil {
			return err
		}
		defer closer.Close()
		root = extracted
	}
	path, err := apppathutil.Path(root, app.Spec.Source.Path)
	if err != nil {
		return err
	}
	response, err := repository.GenerateManifests(ctx, path, root, revision, &apiclient.ManifestRequest{
		Repo: repo, AppName: app.Name, Namespace: app.Spec.Destination.Namespace, ApplicationSource: app.Spec.Source, ProjectName: app.Spec.Project,
	}, false, git.NoopCredsStore{}, resource.MustParse("10M"), utilio.NewRandomizedTempPaths(os.TempDir()))
	if err != nil {
		return err
	}
	for _, manifest := range response.Manifests {
		fmt.Println(manifest)
	}
	return nil
}

// extract fetches an artifact, and resolves its revision to a digest.
func extract(ctx context.Context, repo *v1alpha1.Repository, revision *string) (string, utilio.Closer, error) {
	client, err := oci.NewClient(repo.Repo, repo.GetOCICreds(), "", "", mediaTypes,
		oci.WithImagePaths(utilio.NewRandomizedTempPaths(os.TempDir())), oci.WithManifestMaxExtractedSize(1<<30))
	if err != nil {
		return "", nil, err
	}
	if *revision, err = client.ResolveRevision(ctx, *revision, true); err != nil {
		return "", nil, err
	}
	return client.Extract(ctx, *revision)
}
