package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// Setup lists the folders and names that the commands of the demonstration use.
type Setup struct {
	SourceDir  string // the application's source repository
	GitOpsDir  string // the checkout of the GitOps repository; its remote is the bare repository beside it
	PrivateKey string // file of the hydrator's key
	Promoter   string // file of the promoter's key, the same
	Commit     string // the source commit that the lock names
	Image      string // the application's image, repository:tag
	Artifacts  string // the repository of the artifacts
}

// Options say what to prepare.
type Options struct {
	Registry string // host and port
	Now      time.Time
	Change   func(pipeline string) string // makes another pipeline file of the embedded one, such as [Promotable]; nil leaves it
	NewKey   func() (sign.KeyPair, error) // nil for keys that are encrypted with the empty password
}

// Prepare makes repositories, keys, the application's image and the lock below dir, which must be empty.
func Prepare(ctx context.Context, dir string, o Options) (Setup, error) {
	if o.NewKey == nil {
		o.NewKey = func() (sign.KeyPair, error) { return sign.GenerateKeyPair(nil) }
	}
	s := Setup{
		SourceDir:  filepath.Join(dir, "source"),
		GitOpsDir:  filepath.Join(dir, "gitops"),
		PrivateKey: filepath.Join(dir, "keys", "hydrator.key"),
		Promoter:   filepath.Join(dir, "keys", "promoter.key"),
		Artifacts:  o.Registry + "/acme/codeai-manifests",
	}
	commit := git.NewCommit{By: git.Signature{Name: "Ada", Email: "ada@acme.example"}, When: o.Now, Message: "Ship it"}
	if err := os.CopyFS(s.SourceDir, Source()); err != nil {
		return s, err
	}
	hash, err := git.Create(s.SourceDir, "", "main", commit)
	if err != nil {
		return s, err
	}
	s.Commit = string(hash)
	s.Image = o.Registry + "/acme/codeai:git-" + s.Commit
	image, err := PushImage(ctx, s.Image, s.Commit)
	if err != nil {
		return s, err
	}
	if err := s.writeGitOps(ctx, o, image); err != nil {
		return s, err
	}
	commit.Message = "Release git-" + s.Commit
	_, err = git.Create(s.GitOpsDir, s.GitOpsDir+".git", "main", commit)
	return s, err
}

// Promotable makes the embedded pipeline one that shows its stages on branches and can be promoted.
func Promotable(pipeline string) string {
	return strings.NewReplacer(
		"sign:\n", "sign:\n  promoter: {key: env://"+PromoterVariable+"}\n",
		"identities:\n", "identities:\n  promoter: {key: "+PromoterPublicKey+"}\n",
		"stages:\n", "mirror: {path: \"apps/codeai/deployments/{stage}/deploy\"}\n\nstages:\n",
	).Replace(pipeline)
}

// writeGitOps writes the files of the GitOps repository: what is embedded, the public keys and the lock.
func (s Setup) writeGitOps(ctx context.Context, o Options, image digest.Digest) error {
	if err := os.CopyFS(s.GitOpsDir, GitOps()); err != nil {
		return err
	}
	file := filepath.Join(s.GitOpsDir, "lockage.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pipeline := strings.ReplaceAll(string(text), Registry, o.Registry)
	if o.Change != nil {
		pipeline = o.Change(pipeline)
	}
	if err := os.WriteFile(file, []byte(pipeline), 0o600); err != nil {
		return err
	}
	for private, public := range map[string]string{s.PrivateKey: PublicKey, s.Promoter: PromoterPublicKey} {
		keys, err := o.NewKey()
		if err != nil {
			return err
		}
		public = filepath.Join(s.GitOpsDir, filepath.FromSlash(public))
		if err := errors.Join(writeFile(private, keys.Private), writeFile(public, keys.Public)); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(s.GitOpsDir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = lock.Write(ctx, root, LockDir, lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     "git-" + s.Commit,
		GitCommit:     s.Commit,
		Image:         lock.Image{Ref: s.Image, Digest: image},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: s.SourceDir, SourcePath: ChartPath},
		CreatedAt:     o.Now.UTC().Format(time.RFC3339),
	}, nil)
	return err
}

func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

// PushImage pushes an image without files that says which commit it was built from: what the application's CI would do.
func PushImage(ctx context.Context, ref, commit string) (digest.Digest, error) {
	name, tag, err := oci.SplitReference(ref)
	if err != nil {
		return "", err
	}
	repository, err := oci.NewClient(oci.Options{}).Repository(name)
	if err != nil {
		return "", err
	}
	config := oci.Blob{MediaType: ocispec.MediaTypeImageConfig, Data: fmt.Appendf(nil,
		`{"architecture":"amd64","os":"linux","config":{"Labels":{%q:%q}},"rootfs":{"type":"layers","diff_ids":[]}}`,
		ocispec.AnnotationRevision, commit)}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		ocispec.MediaTypeImageManifest, config.MediaType, digest.FromBytes(config.Data), len(config.Data))
	desc, err := repository.PushManifest(ctx, ocispec.MediaTypeImageManifest, manifest, config)
	if err != nil {
		return "", fmt.Errorf("push the application's image: %w", err)
	}
	return desc.Digest, repository.Tag(ctx, desc, tag)
}
