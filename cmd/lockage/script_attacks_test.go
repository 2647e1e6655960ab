package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"testing/fstest"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// The commands of this file are what somebody can do who may write to the registry.

func cmdRetag(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "retag REPOSITORY:TAG DIGEST")
	tag, err := name.NewTag(args[0])
	ts.Check(err)
	desc, err := remote.Get(tag.Context().Digest(args[1]))
	ts.Check(err)
	ts.Check(remote.Tag(tag, desc))
}

func cmdResolves(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, len(args) != 2, "resolves REPOSITORY:TAG DIGEST")
	tag, err := name.NewTag(behind(args[0]))
	ts.Check(err)
	desc, err := remote.Head(tag)
	ts.Check(err)
	if got := desc.Digest.String(); (got == args[1]) == neg {
		ts.Fatalf("%s names %s; the script says %s", tag, got, args[1])
	}
}

func cmdTamper(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "tamper REPOSITORY@DIGEST VAR")
	ref, err := name.NewDigest(args[0])
	ts.Check(err)
	image, err := remote.Image(ref)
	ts.Check(err)
	other := mutate.Annotations(image, map[string]string{"com.example.note": "mine"}).(v1.Image)
	digest, err := other.Digest()
	ts.Check(err)
	ts.Check(remote.Write(ref.Context().Digest(digest.String()), other))
	ts.Setenv(args[1], digest.String())
}

// cmdMisrender does what a hydrator can do who does not publish what it rendered, or one with its key.
func cmdMisrender(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "misrender KEYVAR REPOSITORY@DIGEST FILE VAR [COMMIT [PIPELINE-FILE]]"
	refuse(ts, neg || len(args) < 4 || len(args) > 6, usage)
	in, from, ok := strings.Cut(args[1], "@")
	refuse(ts, !ok, usage)
	ctx := context.Background()
	file := ts.MkAbs("misrender.key")
	writeFile(ts, file, ts.Getenv(args[0]))
	key, err := sign.OpenKey(ctx, file, nil)
	ts.Check(err)
	repository, err := oci.NewClient(oci.Options{}).Repository(in)
	ts.Check(err)
	manifest, err := repository.ReadArtifact(ctx, from)
	ts.Check(err)
	tree, err := repository.Pull(ctx, manifest)
	ts.Check(err)
	files := fstest.MapFS{}
	ts.Check(fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			var data []byte
			data, err = fs.ReadFile(tree, name)
			files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		}
		return err
	}))
	if files[args[2]] == nil {
		ts.Fatalf("misrender: the artifact has no file %s", args[2])
	}
	files[args[2]].Data = append(files[args[2]].Data, "mine: true\n"...)
	content, err := oci.ContentDigest(files)
	ts.Check(err)
	annotations := maps.Clone(manifest.Annotations)
	annotations[oci.AnnotationContentDigest] = content.String()
	other, err := oci.Pack(files, annotations)
	ts.Check(err)
	ts.Check(repository.PushArtifact(ctx, other))
	resign(ts, repository, manifest.Descriptor, other, key, args[4:]...)
	ts.Setenv(args[3], other.Descriptor.Digest.String())
}

// resign signs what is stated of one artifact about another one, and says that it was made from a GitOps commit and a pipeline file, if they
// are given.
func resign(ts *testscript.TestScript, repository *oci.Repository, from ocispec.Descriptor, to oci.Artifact, key *sign.Key, made ...string) {
	ctx := context.Background()
	bundles, err := sign.Find(ctx, repository, from)
	ts.Check(err)
	for _, b := range bundles {
		v, err := sign.Claimed(from.Digest, b)
		ts.Check(err)
		statement := sign.NewSignature(to.Descriptor.Digest, v.Claim())
		if p, err := v.Provenance(); err == nil {
			p.Byproducts[0].Digest = sign.DigestSet(to.ContentDigest)
			for i, d := range p.Dependencies {
				if len(made) > 0 && (d.Name == policy.DependencyGitOps || d.Name == policy.DependencyPolicy) {
					p.Dependencies[i] = sign.GitCommit(d.Name, "https://git.example/gitops.git", made[0])
				}
			}
			if len(made) > 1 {
				p.File = made[1]
			}
			statement, err = sign.NewProvenance(to.Descriptor.Digest, p)
			ts.Check(err)
		}
		_, err = sign.Attest(ctx, repository, to.Descriptor, key, statement)
		ts.Check(err)
	}
}

func cmdReattach(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "reattach FROM TO")
	from, err := name.NewDigest(args[0])
	ts.Check(err)
	to, err := name.NewDigest(args[1])
	ts.Check(err)
	subject, err := remote.Head(to)
	ts.Check(err)
	index, err := remote.Referrers(from)
	ts.Check(err)
	manifest, err := index.IndexManifest()
	ts.Check(err)
	for _, desc := range manifest.Manifests {
		image, err := remote.Image(from.Context().Digest(desc.Digest.String()))
		ts.Check(err)
		moved := mutate.Subject(image, *subject).(v1.Image)
		digest, err := moved.Digest()
		ts.Check(err)
		ts.Check(remote.Write(to.Context().Digest(digest.String()), moved))
	}
	signatures := func(of name.Digest) name.Tag {
		return of.Context().Tag(strings.Replace(of.DigestStr(), ":", "-", 1) + ".sig")
	}
	image, err := remote.Image(signatures(from))
	ts.Check(err)
	ts.Check(remote.Write(signatures(to), image))
}

func cmdStates(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "states KEYVAR REPOSITORY@DIGEST TYPE [PREDICATE]"
	refuse(ts, neg || len(args) != 3 && len(args) != 4, usage)
	ctx := context.Background()
	file := ts.MkAbs("states.key")
	writeFile(ts, file, ts.Getenv(args[0]))
	key, err := sign.OpenKey(ctx, file, nil)
	ts.Check(err)
	in, digest, ok := strings.Cut(args[1], "@")
	refuse(ts, !ok, usage)
	repository, err := oci.NewClient(oci.Options{}).Repository(in)
	ts.Check(err)
	manifest, err := repository.ReadArtifact(ctx, digest)
	ts.Check(err)
	statement := sign.NewSignature(manifest.Descriptor.Digest, sign.Claim{
		Pipeline:   manifest.Annotations[oci.AnnotationPipeline],
		Stage:      manifest.Annotations[oci.AnnotationStage],
		Release:    manifest.Annotations[oci.AnnotationRelease],
		Repository: in,
	})
	statement.PredicateType = args[2]
	if len(args) == 4 {
		statement.Predicate = []byte(args[3])
	}
	_, err = sign.Attest(ctx, repository, manifest.Descriptor, key, statement)
	ts.Check(err)
}

func cmdRewrap(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "rewrap REPOSITORY@DIGEST")
	ctx := context.Background()
	in, reference, ok := strings.Cut(args[0], "@")
	refuse(ts, !ok, "rewrap REPOSITORY@DIGEST")
	repository, err := oci.NewClient(oci.Options{}).Repository(in)
	ts.Check(err)
	desc, err := repository.Resolve(ctx, reference)
	ts.Check(err)
	bundles, err := sign.Find(ctx, repository, desc)
	ts.Check(err)
	for _, b := range bundles {
		ts.Check(repository.Attach(ctx, desc, oci.Referrer{
			ArtifactType: sign.BundleMediaType,
			Layers:       []oci.Blob{{MediaType: sign.BundleMediaType, Data: append([]byte(" "), b.JSON...)}},
		}))
	}
}

// cmdPoison attaches what nobody can read, in all forms: what a manifest names has not the size that it says.
func cmdPoison(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "poison REPOSITORY@DIGEST")
	ctx := context.Background()
	in, reference, ok := strings.Cut(args[0], "@")
	refuse(ts, !ok, "poison REPOSITORY@DIGEST")
	repository, err := oci.NewClient(oci.Options{}).Repository(in)
	ts.Check(err)
	subject, err := repository.Resolve(ctx, reference)
	ts.Check(err)
	config := oci.Blob{MediaType: ocispec.MediaTypeEmptyJSON, Data: []byte("{}")}
	var listed []ocispec.Descriptor
	push := func(tag, artifactType, mediaType string) {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType, Config: config.Descriptor()}
		m.SchemaVersion = 2
		blob := oci.Blob{MediaType: mediaType, Data: []byte(`{"junk":"` + tag + artifactType + `"}`)}
		for _, size := range []int64{-1, 1, blob.Descriptor().Size + 1, 1 << 30, 1 << 40} {
			layer := blob.Descriptor()
			layer.Size = size
			if m.Layers = append(m.Layers, layer); tag != "" {
				continue
			}
			m.Layers, m.Subject = m.Layers[len(m.Layers)-1:], &subject
			raw, err := json.Marshal(m)
			ts.Check(err)
			desc, err := repository.PushManifest(ctx, m.MediaType, raw, config, blob)
			ts.Check(err)
			desc.ArtifactType = artifactType
			listed = append(listed, desc)
		}
		if tag != "" {
			raw, err := json.Marshal(m)
			ts.Check(err)
			_, err = repository.PushTagged(ctx, tag, m.MediaType, raw, config, blob)
			ts.Check(err)
		}
	}
	push("", sign.BundleMediaType, sign.BundleMediaType)
	push("", "", sign.BundleMediaType)
	push(oci.FallbackTag(subject.Digest)+".sig", "", "application/vnd.dev.cosign.simplesigning.v1+json")
	push(oci.FallbackTag(subject.Digest)+".att", "", "application/vnd.dsse.envelope.v1+json")
	poisonIndex(ts, repository, subject, listed)
}

// poisonIndex adds more to the list of a subject's referrers, where a tag names one.
func poisonIndex(ts *testscript.TestScript, repository *oci.Repository, subject ocispec.Descriptor, listed []ocispec.Descriptor) {
	ctx := context.Background()
	var index ocispec.Index
	_, raw, err := repository.Manifest(ctx, oci.FallbackTag(subject.Digest))
	if errors.Is(err, oci.ErrNotFound) {
		return // the registry lists them itself
	}
	ts.Check(err)
	ts.Check(json.Unmarshal(raw, &index))
	index.Manifests = append(index.Manifests, listed...)
	raw, err = json.Marshal(index)
	ts.Check(err)
	_, err = repository.PushTagged(ctx, oci.FallbackTag(subject.Digest), ocispec.MediaTypeImageIndex, raw)
	ts.Check(err)
}

// cmdTransfer copies an artifact with all that is signed of it to another repository.
func cmdTransfer(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "transfer REPOSITORY@DIGEST REPOSITORY")
	from, err := name.NewDigest(args[0])
	ts.Check(err)
	repository, err := name.NewRepository(args[1])
	ts.Check(err)
	to := repository.Digest(from.DigestStr())
	image, err := remote.Image(from)
	ts.Check(err)
	ts.Check(remote.Write(to, image))
	cmdReattach(ts, false, []string{from.Name(), to.Name()})
}

// cmdFlood attaches bundles that prove nothing, with the annotation that bundles of other programs have.
func cmdFlood(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "flood REPOSITORY@DIGEST COUNT"
	refuse(ts, neg || len(args) != 2, usage)
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	in, reference, ok := strings.Cut(args[0], "@")
	refuse(ts, !ok, usage)
	repository, err := oci.NewClient(oci.Options{}).Repository(in)
	ts.Check(err)
	desc, err := repository.Resolve(context.Background(), reference)
	ts.Check(err)
	for i := range count {
		err := repository.Attach(context.Background(), desc, oci.Referrer{
			ArtifactType: sign.BundleMediaType,
			Layers:       []oci.Blob{{MediaType: sign.BundleMediaType, Data: []byte("{}")}},
			Annotations:  map[string]string{"n": strconv.Itoa(i), sign.AnnotationPredicateType: sign.PredicateSignature},
		})
		ts.Check(err)
	}
}
