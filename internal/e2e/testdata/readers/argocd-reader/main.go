// Argocd reads manifests as Argo CD's repo-server does, and prints them as JSON, one a line.
//
//	argocd-reader [-plain-http] [-checkout DIR] APPLICATION
//	argocd-reader -webhook ADDRESS -secret SECRET APPLICATION…
//
// APPLICATION is a file with an Application. Its source is fetched from the OCI registry, or found in a checkout of its repository. The
// second form is the webhook of Argo CD's server, at http://ADDRESS/api/webhook. GET of /refreshed prints the names of the
// Applications that it has refreshed.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	appfake "github.com/argoproj/argo-cd/v3/pkg/client/clientset/versioned/fake"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	apppathutil "github.com/argoproj/argo-cd/v3/util/app/path"
	"github.com/argoproj/argo-cd/v3/util/db"
	"github.com/argoproj/argo-cd/v3/util/git"
	utilio "github.com/argoproj/argo-cd/v3/util/io"
	"github.com/argoproj/argo-cd/v3/util/oci"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/argo-cd/v3/util/webhook"
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
	address := flag.String("webhook", "", "address of the webhook")
	secret := flag.String("secret", "", "webhook.github.secret")
	flag.Parse()
	var err error
	if *address != "" {
		err = serve(context.Background(), *address, *secret, flag.Args())
	} else {
		err = run(context.Background(), flag.Arg(0), *checkout, *plain)
	}
	if err != nil {
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
	app, err := read(file)
	if err != nil {
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

func read(file string) (*v1alpha1.Application, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var app v1alpha1.Application
	return &app, yaml.UnmarshalStrict(data, &app)
}

// serve is the webhook, before a cluster that has Argo CD's own objects and some Applications.
func serve(ctx context.Context, address, secret string, files []string) error {
	var objects []runtime.Object
	for _, file := range files {
		app, err := read(file)
		if err != nil {
			return err
		}
		objects = append(objects, app)
	}
	ours := metav1.ObjectMeta{Namespace: "argocd", Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}}
	configuration, secrets := &corev1.ConfigMap{ObjectMeta: ours}, &corev1.Secret{ObjectMeta: ours}
	configuration.Name, secrets.Name = "argocd-cm", "argocd-secret"
	secrets.Data = map[string][]byte{"server.secretkey": []byte(secret), "webhook.github.secret": []byte(secret)}
	cluster, apps := kubefake.NewSimpleClientset(configuration, secrets), appfake.NewSimpleClientset(objects...)
	manager := settings.NewSettingsManager(ctx, cluster, ours.Namespace)
	current, err := manager.GetSettings()
	if err != nil {
		return err
	}
	// What is cached is moved by events that name the commit before, and ours name none.
	handler := webhook.NewHandler(ours.Namespace, nil, 1, apps, current, manager, nil, nil, db.NewDB(ours.Namespace, manager, cluster), manager.GetMaxWebhookPayloadSize())
	http.HandleFunc("POST /api/webhook", handler.Handler)
	http.HandleFunc("GET /refreshed", func(w http.ResponseWriter, r *http.Request) {
		list, err := apps.ArgoprojV1alpha1().Applications(ours.Namespace).List(r.Context(), metav1.ListOptions{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for _, app := range list.Items {
			if _, ok := app.IsRefreshRequested(); ok {
				fmt.Fprintln(w, app.Name)
			}
		}
	})
	return http.ListenAndServe(address, nil)
}
