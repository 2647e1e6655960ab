// Package proof writes all that proves one promotion to one tar file, which stock programs verify without a network.
//
// The file has the artifact (manifest.json, config.json, manifests.tar.gz), packed from the commit that shows it and equal to the
// digest in the promoter's record; every statement of the promotion as a Sigstore bundle; the older signatures as payload and signature; the
// public keys, the pipeline file and the lock at the policy commit by which it was judged; the trusted root that proves certificates; and the
// commands of cosign that verify each statement. Its bytes are a function of these.
package proof

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/repair"
)

// maxFile bounds a key, pipeline file or lock that is written, in bytes.
const maxFile = 1 << 20

// signatureAnnotation is where cosign keeps the signature of a payload.
const signatureAnnotation = "dev.cosignproject.cosign/signature"

// trustedRoot is the file with the trusted root that the commands name.
const trustedRoot = "trusted_root.json"

// emptyRoot is a trusted root without any service: keys prove by themselves.
const emptyRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}` + "\n"

// Promotion is a proven promotion, and where to find what it was judged by.
type Promotion struct {
	live.Promotion
	Stage    live.Stage
	Pipeline *pipeline.Pipeline // at the policy commit of the record
	Files    fs.FS              // of the GitOps repository there
	Shown    any                // what people see of it, as JSON
}

// Write writes the file.
func Write(ctx context.Context, w io.Writer, p Promotion) error {
	artifact, err := repair.Pack(ctx, p.Stage.Remote, []live.Promotion{p.Promotion})
	if err != nil {
		return err
	}
	shown, err := json.MarshalIndent(p.Shown, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"artifact/manifest.json": artifact.Manifest, "artifact/config.json": artifact.Config, "artifact/manifests.tar.gz": artifact.Layer,
		"promotion.json": append(shown, '\n'), trustedRoot: []byte(emptyRoot),
	}
	signers, err := p.policy(files)
	if err != nil {
		return err
	}
	text, err := p.statements(files, signers)
	if err != nil {
		return err
	}
	files["VERIFY.md"] = []byte(text)
	return pack(w, files)
}

// policy adds what the promotion was judged by, and returns those whom it trusts.
func (p Promotion) policy(files map[string][]byte) ([]signer, error) {
	file, err := p.Pipeline.LockOf(p.Files, p.To.Release)
	if err != nil {
		return nil, err
	}
	declared, err := p.Pipeline.Expand(p.Promotion.Stage, file.Lock, p.Files)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{p.Pipeline.File, path.Join(strings.ReplaceAll(p.Pipeline.Lock, "{pipeline}", p.Pipeline.Name), p.To.Release+".yaml")} {
		text, err := bounded.ReadFile(p.Files, name, maxFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			files["policy/"+name] = text
		}
	}
	ids, err := evidence.ReadIdentities(p.Files, declared)
	if err != nil {
		return nil, err
	}
	return p.signers(files, ids)
}

// statements adds the statements, and returns how each is verified.
func (p Promotion) statements(files map[string][]byte, signers []signer) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Promotion %d of %s\n\n%s of pipeline %s, %s, by commit %s of the live ref.\nThe artifact is %s: `sha256sum artifact/manifest.json`.\n\n",
		p.Sequence, p.Promotion.Stage, p.To.Release, p.Promotion.Pipeline, p.Action, p.Commit, p.To.Digest)
	const cosign = "cosign verify-blob-attestation --new-bundle-format --trusted-root " + trustedRoot + " \\\n  %s --bundle %s \\\n  --type %s %s"
	for n, bundle := range p.Statements.Bundles {
		s := read(bundle.JSON, p.To.Digest)
		name := fmt.Sprintf("statements/%02d-%s.sigstore.json", n+1, s.name())
		files[name] = append(slices.Clone(bundle.JSON), '\n')
		about := "artifact/manifest.json"
		if s.digest != p.To.Digest {
			about = fmt.Sprintf("--digest %s --digestAlg sha256", s.digest.Encoded())
		}
		fmt.Fprintf(&b, "%s", block(word(s.kind), fmt.Sprintf(cosign, ofBundle(signers, s.digest, bundle), name, word(s.kind), about)))
	}
	for n, image := range p.Statements.Images {
		name := fmt.Sprintf("statements/image-%02d", n+1)
		files[name+".payload"] = image.Payload
		certified, err := image.Bundle()
		if err != nil {
			return "", err
		}
		command := fmt.Sprintf("cosign verify-blob %s \\\n  --signature %s.sig %s.payload", ofImage(signers, image), name, name)
		if certified != nil {
			files[name+".sigstore.json"] = append(certified, '\n')
			command = fmt.Sprintf("cosign verify-blob --new-bundle-format --trusted-root "+trustedRoot+" \\\n  %s \\\n  --bundle %s.sigstore.json %s.payload", ofImage(signers, image), name, name)
		} else {
			files[name+".sig"] = []byte(image.Annotations[signatureAnnotation])
		}
		fmt.Fprintf(&b, "%s", block("signature in the older form", command))
	}
	return b.String(), nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9:/._+-]+$`)

// word writes a text as one word of a shell, in one line: others than the promoter choose the types of statements.
func word(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return quote(text)
}

func block(what, command string) string { return what + "\n\n```sh\n" + command + "\n```\n\n" }

// statement is what a bundle claims.
type statement struct {
	kind   string
	digest digest.Digest
}

// name returns the last words of the predicate type.
func (s statement) name() string {
	words := strings.FieldsFunc(s.kind, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') && (r < 'A' || r > 'Z')
	})
	return strings.Join(words[max(0, len(words)-2):], "-")
}

// read reads a bundle about an artifact, or about something else.
func read(bundle []byte, artifact digest.Digest) statement {
	var b struct {
		Envelope struct {
			Payload string `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	var s struct {
		Type    string `json:"predicateType"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	_ = json.Unmarshal(bundle, &b) // it was verified before
	payload, _ := base64.StdEncoding.DecodeString(b.Envelope.Payload)
	_ = json.Unmarshal(payload, &s)
	read := statement{kind: s.Type}
	for _, subject := range s.Subject {
		d := digest.NewDigestFromEncoded(digest.SHA256, subject.Digest["sha256"])
		if d == artifact || read.digest == "" && d.Validate() == nil {
			read.digest = d
		}
	}
	read.digest = cmp.Or(read.digest, artifact)
	return read
}

// pack writes files to a tar.
func pack(w io.Writer, files map[string][]byte) error {
	tw := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, Format: tar.FormatPAX})
		if err == nil {
			_, err = tw.Write(files[name])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return tw.Close()
}
