// Argocd reads manifests as Argo CD's repo-server does, and prints them as JSON, one a line.
//
//	argocd-reader [-plain-http] APPLICATION
//	argocd-reader -webhook ADDRESS -secret SECRET APPLICATION…
//
// APPLICATION is a file with an Application, whose source is an OCI registry or a Git repository. The second form is the webhook of
// Argo CD's server, at http://ADDRESS/api/webhook. GET of /refreshed prints the names of the Applications that it has refreshed.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	appfake "github.com/argoproj/argo-cd/v3/pkg/client/clientset/versioned/fake"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/cache"
	"github.com/argoproj/argo-cd/v3/reposerver/metrics"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	cacheutil "github.com/argoproj/argo-cd/v3/util/cache"
	"github.com/argoproj/argo-cd/v3/util/db"
	"github.com/argoproj/argo-cd/v3/util/git"
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
	address := flag.String("webhook", "", "address of the webhook")
	secret := flag.String("secret", "", "webhook.github.secret")
	flag.Parse()
	var err error
	if *address != "" {
		err = serve(context.Background(), *address, *secret, flag.Args())
	} else {
		err = run(context.Background(), flag.Arg(0), *plain)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string, plain bool) error {
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
	memory := cacheutil.NewCache(cacheutil.NewInMemoryCache(time.Hour))
	service := repository.NewService(metrics.NewMetricsServer(), cache.NewCache(memory, time.Hour, time.Hour, time.Minute),
		repository.RepoServerInitConstants{
			OCIMediaTypes: mediaTypes, OCIManifestMaxExtractedSize: 1 << 30, MaxCombinedDirectoryManifestsSize: resource.MustParse("10M"),
		}, git.NoopCredsStore{}, scratch)
	if err := service.Init(); err != nil {
		return err
	}
	source := app.Spec.GetSource()
	response, err := service.GenerateManifest(ctx, &apiclient.ManifestRequest{
		Repo: &v1alpha1.Repository{Repo: source.RepoURL, InsecureOCIForceHttp: plain}, Revision: source.TargetRevision, ApplicationSource: &source,
		AppName: app.Name, Namespace: app.Spec.Destination.Namespace, ProjectName: app.Spec.Project,
	})
	if err != nil {
		return err
	}
	for _, manifest := range response.Manifests {
		fmt.Println(manifest)
	}
	return nil
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
