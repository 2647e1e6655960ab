// Flux reconciles an OCIRepository as Flux's source-controller does, and prints what it stored.
//
//	flux-reader FILE
//
// FILE holds an OCIRepository and the secrets that it names.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/artifact/config"
	"github.com/fluxcd/pkg/artifact/storage"
	"github.com/fluxcd/pkg/runtime/conditions"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	k8syaml "sigs.k8s.io/yaml"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/fluxcd/source-controller/internal/controller"
	"github.com/fluxcd/source-controller/internal/oci/cosign"
)

// outcome is what a cluster would show of the object, and the files in its artifact.
type outcome struct {
	Ready, Verified, Message, Revision string
	Files                              []string
}

func main() {
	ctrl.SetLogger(logr.Discard())
	result, err := run(ctrl.SetupSignalHandler(), os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) (outcome, error) {
	var result outcome
	objects, repository, err := read(file)
	if err != nil {
		return result, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), sourcev1.AddToScheme(scheme)); err != nil {
		return result, err
	}
	dir, err := os.MkdirTemp("", "flux")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(dir)
	store, err := storage.New(&config.Options{StoragePath: dir, StorageAddress: ":9090", StorageAdvAddress: "localhost", ArtifactRetentionTTL: time.Minute, ArtifactRetentionRecords: 2})
	if err != nil {
		return result, err
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&sourcev1.OCIRepository{}).WithObjects(objects...).Build()
	reconciler := &controller.OCIRepositoryReconciler{
		Client: cluster, EventRecorder: record.NewFakeRecorder(100), Storage: store,
		ControllerName: "source-controller", CosignVerifierFactory: cosign.NewCosignVerifierFactory(),
	}
	reconciler.Prepare()
	key := client.ObjectKeyFromObject(repository)
	for range 2 { // the first adds the finalizer
		_, err = reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	}
	if get := cluster.Get(ctx, key, repository); get != nil {
		return result, get
	}
	if ready := conditions.Get(repository, meta.ReadyCondition); ready != nil {
		result.Ready, result.Message = string(ready.Status), ready.Message
	}
	if verified := conditions.Get(repository, sourcev1.SourceVerifiedCondition); verified != nil {
		result.Verified = string(verified.Status)
	}
	if err != nil {
		result.Message = err.Error()
	}
	if err != nil || repository.Status.Artifact == nil {
		return result, nil
	}
	result.Revision = repository.Status.Artifact.Revision
	result.Files, err = list(store.LocalPath(*repository.Status.Artifact))
	return result, err
}

// read reads the objects of a file as an API server would: no unknown fields, and defaults filled in.
func read(file string) (objects []client.Object, repository *sourcev1.OCIRepository, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	for documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data))); ; {
		document := make([]byte, len(data))
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		var kind metav1.TypeMeta
		if err := k8syaml.Unmarshal(document[:n], &kind); err != nil {
			return nil, nil, err
		}
		var object client.Object
		switch kind.Kind {
		case "OCIRepository":
			repository = &sourcev1.OCIRepository{}
			repository.Spec.Timeout = &metav1.Duration{Duration: time.Minute}
			object = repository
		case "Secret":
			object = &corev1.Secret{}
		default:
			continue // for other controllers
		}
		if err := k8syaml.UnmarshalStrict(document[:n], object); err != nil {
			return nil, nil, err
		}
		if secret, ok := object.(*corev1.Secret); ok {
			secret.Data = map[string][]byte{}
			for key, value := range secret.StringData {
				secret.Data[key] = []byte(value)
			}
		}
		object.SetGeneration(1)
		objects = append(objects, object)
	}
	if repository == nil {
		return nil, nil, errors.New("no OCIRepository")
	}
	return objects, repository, nil
}

// list returns the names of the files in an archive.
func list(archive string) ([]string, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	files := []string{}
	for reader := tar.NewReader(zip); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeReg {
			files = append(files, header.Name)
		}
	}
}
