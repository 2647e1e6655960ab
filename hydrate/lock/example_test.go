package lock_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/lockage/lockage/hydrate/lock"
)

const file = `schemaVersion: v1
releaseId: git-0123456789abcdef0123456789abcdef01234567
gitCommit: 0123456789abcdef0123456789abcdef01234567
image:
  ref: ghcr.io/acme/app:v1
  digest: sha256:1111111111111111111111111111111111111111111111111111111111111111
images:
  - name: sidecar
    ref: ghcr.io/acme/sidecar
    digest: sha256:2222222222222222222222222222222222222222222222222222222222222222
packaging:
  kind: helm
  sourceRepo: https://github.com/acme/app.git
  sourcePath: k8s/helm
createdAt: '2026-03-22T12:34:56Z'
`

func ExampleParse() {
	l, err := lock.Parse("locks/app/current.yaml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.ReleaseID)
	fmt.Println(l.Packaging.Kind, l.Packaging.SourcePath)
	// Output:
	// git-0123456789abcdef0123456789abcdef01234567
	// helm k8s/helm
}

// Parse lists every problem, each with its place.
func ExampleParse_problems() {
	_, err := lock.Parse("current.yaml", []byte("releaseId: v1\ngitCommit: 0123456\nimage: {ref: app}\npackaging: {kind: helm, sourcePath: ../k8s}\n"))
	fmt.Println(err)
	// Output:
	// current.yaml:1:12: releaseId "v1" is not "git-" and a full commit id of 40 lower-case hex digits, with or without "-" and 12 digits of what the lock means
	// current.yaml:2:12: gitCommit "0123456" is abbreviated: write the full id that git rev-parse 0123456 prints
	// current.yaml:3:8: image.digest is empty: write what `crane digest app` prints
	// current.yaml:4:37: packaging.sourcePath "../k8s" holds `..`: write it relative to the source repository's root
}

// The application's own image comes first, without a name.
func ExampleLock_Images() {
	l, err := lock.Parse("current.yaml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	for _, image := range l.Images() {
		fmt.Printf("%q %s\n", image.Name, image.Pinned())
	}
	// Output:
	// "" ghcr.io/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111
	// "sidecar" ghcr.io/acme/sidecar@sha256:2222222222222222222222222222222222222222222222222222222222222222
}

// linear is the history of a source repository whose commits sort by age.
type linear struct{}

func (linear) IsAncestor(_ context.Context, ancestor, descendant string) (bool, error) {
	return ancestor <= descendant, nil
}

// Write records a release once, and keeps the current one if it is newer.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "locks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	l, err := lock.Parse("current.yaml", []byte(file))
	if err != nil {
		log.Fatal(err)
	}
	newer := l
	newer.GitCommit = "fedcba9876543210fedcba9876543210fedcba98"
	newer.ReleaseID = "git-" + newer.GitCommit
	for _, l := range []lock.Lock{newer, newer, l} {
		written, err := lock.Write(context.Background(), root, "locks/app", l, linear{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(written.History.Action, written.Current.Action)
	}
	// Output:
	// created created
	// unchanged unchanged
	// created newer
}
