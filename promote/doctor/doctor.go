// Package doctor finds what is wrong with a configuration, a registry or an artifact before it matters, and says what to do next.
//
// It reports what can be seen from here, and no more: rights at a forge or in a registry that no file shows are not guessed.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	Good    Severity = "ok"
	Warning Severity = "warning" // works, and protects less than it could
	Bad     Severity = "error"   // will fail, or protects nothing
)

const (
	maxSkew       = 2 * time.Minute // of a registry's clock; signatures and windows are judged by minutes
	maxReferrers  = 30              // of one digest, that Flux reads
	nearReferrers = 25
	maxOwners     = 3 << 20 // of a CODEOWNERS file, as GitHub bounds it
)

// Finding is what was found about a subject.
type Finding struct {
	Subject  string   `json:"subject"`
	Finding  string   `json:"finding"`
	Severity Severity `json:"severity"`
	Reason   string   `json:"reason"`
	Next     string   `json:"next,omitempty"` // the next step
}

// owners are the places where forges read who has to review which files.
var owners = []string{"CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS", ".gitea/CODEOWNERS"}

// Configuration examines what the policy ref declares. It writes nothing, and asks no registry.
func Configuration(files fs.FS, policyRef string, pipelines []*pipeline.Pipeline, expand func(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error)) ([]Finding, error) {
	var found []Finding
	keys, err := workspace.PrivateKeys(files, pipelines)
	if err != nil {
		return nil, err
	}
	for _, name := range keys {
		found = append(found, Finding{policyRef, "private-key", Bad, fmt.Sprintf("%s is a private key, and everybody who reads the repository can sign with it", name),
			"make another key outside of the checkout, replace its public key, and remove the file"})
	}
	for _, p := range pipelines {
		more, err := stages(files, p, expand)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return append(found, reviewed(files, policyRef, pipelines)...), nil
}

// stages examines who may do what in the stages of a pipeline.
func stages(files fs.FS, p *pipeline.Pipeline, expand func(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error)) ([]Finding, error) {
	var found []Finding
	var readable []string
	promoters := map[string][]string{} // stages by the key of their promoter
	for _, stage := range p.Order() {
		declared, err := expand(p, stage)
		if errors.Is(err, lock.ErrNoRelease) {
			return []Finding{{p.Name, "no-release", Warning, "it has no lock yet, and its stages were not examined", "`lockage lock write` or `lockage lock discover` writes the first"}}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", p.Name, stage, err)
		}
		subject := p.Name + "/" + stage
		if _, err := keyOf(files, declared, pipeline.RoleHydrator); err != nil {
			found = append(found, Finding{subject, "identity", Bad, err.Error(), "write the public key to that file, and push it to the policy ref"})
		}
		if _, err := verify.Instance(files, declared); err != nil {
			found = append(found, Finding{subject, "sigstore", Bad, err.Error(), "write the file, as docs/identities.md says, and push it to the policy ref: without it nothing proves certificates and times"})
		}
		if _, ok := declared.Identities[pipeline.RolePromoter]; !ok {
			continue
		}
		promoter, err := keyOf(files, declared, pipeline.RolePromoter)
		if err != nil {
			found = append(found, Finding{subject, "identity", Bad, err.Error(), "write the public key to that file, and push it to the policy ref"})
		}
		if promoter != "" {
			promoters[promoter] = append(promoters[promoter], stage)
		}
		if at := declared.LiveRef(); !strings.Contains(at.Remote, "/") { // a remote of the GitOps repository
			readable = append(readable, at.Branch)
		}
	}
	if len(readable) > 0 {
		found = append(found, Finding{p.Name, "readable-manifests", Warning,
			fmt.Sprintf("everybody who reads the GitOps repository reads the manifests, on %s", strings.Join(readable, ", ")),
			"fine if they may; else name a repository of its own in ledger.remote"})
	}
	for _, key := range slices.Sorted(maps.Keys(promoters)) {
		if of := promoters[key]; len(of) > 1 {
			found = append(found, Finding{p.Name, "shared-promoter", Warning,
				fmt.Sprintf("stages %s have one promoter, %s: a user who may write to the registry can tag the artifact of one as that of another, and clusters accept it", strings.Join(of, ", "), key),
				`give each stage its own: identities: {promoter: {key: "keys/promote-{stage}.pub"}}, or {stage} in the subject`})
		}
	}
	return found, nil
}

// keyOf returns what an identity is known by; "" for one whose key is not in the repository.
func keyOf(files fs.FS, declared pipeline.Expanded, name string) (string, error) {
	id := declared.Identities[name]
	switch {
	case id.Key == "" && id.Issuer != "":
		return fmt.Sprintf("%s%s of %s", id.Subject, id.SubjectRegexp, id.Issuer), nil
	case strings.Contains(id.Key, "://"):
		return "", nil
	}
	keys, err := verify.PublicKeys(files, id.Key)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("key %.12s", keys[0].Fingerprint()), nil
}

// reviewed examines whether files of the repository say who has to review the policy, which lies beside the locks.
func reviewed(files fs.FS, policyRef string, pipelines []*pipeline.Pipeline) []Finding {
	var unowned []string
	rules := ""
	for _, name := range owners {
		if text, err := bounded.ReadFile(files, name, maxOwners); err == nil {
			rules += "\n" + string(text)
		}
	}
	for _, p := range pipelines {
		if !owned(rules, p.File) {
			unowned = append(unowned, p.File)
		}
	}
	if len(unowned) == 0 {
		return nil
	}
	return []Finding{{policyRef, "locks-with-policy", Warning,
		fmt.Sprintf("locks and %s are in one branch, and no CODEOWNERS rule names %s: a job that writes locks can change gates and identities there, unless the forge forbids it", strings.Join(unowned, ", "), strings.Join(unowned, ", ")),
		"name owners of the pipeline files, keys and policies in CODEOWNERS, require their review on the branch, and let the job that writes locks open pull requests"}}
}

// owned reports whether a rule matches a file or a folder above it; the rule for all files is too wide if it covers locks as well, and counts.
func owned(rules, file string) bool {
	for line := range strings.Lines(rules) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		pattern := strings.Trim(fields[0], "/")
		if pattern == "*" || pattern == file || strings.HasPrefix(file, strings.TrimSuffix(strings.TrimSuffix(pattern, "/**"), "/*")+"/") || strings.HasSuffix("/"+file, "/"+pattern) {
			return true
		}
	}
	return false
}

// Registry tries in a repository what lockage does there. It writes, and deletes that again where it may.
func Registry(ctx context.Context, r *oci.Repository, nonce string, now time.Time) ([]Finding, error) {
	p, err := r.Probe(ctx, sign.BundleMediaType, nonce, now)
	if err != nil {
		return nil, err
	}
	name := r.Name()
	if p.Push != nil {
		return []Finding{{name, "push", Bad, p.Push.Error(), "let the account push there; some registries want the repository created first, or refuse media types"}}, nil
	}
	found := []Finding{{name, "push", Good, "it takes artifacts with their media types", ""}}
	add := func(bad bool, finding string, severity Severity, reason, next, good string) {
		if bad {
			found = append(found, Finding{name, finding, severity, reason, next})
		} else {
			found = append(found, Finding{name, finding, Good, good, ""})
		}
	}
	add(p.Referrer != nil, "signatures", Bad, text(p.Referrer), "allow the artifact type "+sign.BundleMediaType+", and tags of the form sha256-<hex> to move", "it takes signatures and lists them")
	add(!p.API, "referrers", Warning, "it has no referrers API: lists of signatures are kept under tags sha256-<hex>, which have to move", "let these tags move; nothing else is to do", "it has the referrers API")
	add(p.Moves != nil, "tags", Bad, text(p.Moves), "let the tags STAGE and STAGE.git-* move: exclude them from the registry's immutability rules", "tags STAGE and STAGE.git-* can move")
	add(!p.Immutable, "hydration-tags", Warning, "the tag of a hydration can be moved, which lockage never does", "make tags of the form *.img-sha256-*.* immutable, if the registry has such rules", "tags of hydrations are immutable")
	add(p.Deletes != nil, "deletes", Warning, text(p.Deletes), "`lockage prune` removes nothing there: use the registry's own rules of retention, and spare what is live", "it deletes manifests")
	add(p.Clock.Abs() > maxSkew, "clock", Warning, fmt.Sprintf("its clock differs from this machine's by %s", p.Clock.Round(time.Second)), "set the clock that is wrong: windows and maximum ages are judged by them", "its clock agrees")
	if len(p.Left) > 0 {
		found = append(found, Finding{name, "left", Warning, "the tags " + strings.Join(p.Left, ", ") + " of this examination are still there", "delete them"})
	}
	return found, nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// Artifact examines whether consumers of an artifact read and verify it. It proves no signature: verify does.
func Artifact(ctx context.Context, r *oci.Repository, tagOrDigest string) ([]Finding, error) {
	subject := r.Reference(tagOrDigest)
	m, err := r.ReadArtifact(ctx, tagOrDigest)
	if err == nil {
		_, err = r.Pull(ctx, m)
	}
	if err != nil {
		if errors.Is(err, oci.ErrNotFound) || ctx.Err() != nil {
			return nil, err
		}
		return []Finding{{subject, "shape", Bad, err.Error(), "hydrate again: Argo CD reads exactly one tar layer, Flux tar+gzip only"}}, nil
	}
	all, err := r.Referrers(ctx, m.Descriptor, "")
	if err != nil {
		return nil, err
	}
	beside, err := r.Beside(ctx, m.Descriptor.Digest)
	if err != nil {
		return nil, err
	}
	found := []Finding{{subject, "argocd", Good, "one layer, tar+gzip; Argo CD verifies no signatures", ""}}
	bundles, signatures := 0, 0
	for _, d := range all {
		if d.ArtifactType == sign.BundleMediaType {
			bundles++
			if d.Annotations[sign.AnnotationPredicateType] == sign.PredicateSignature {
				signatures++
			}
		}
	}
	return append(found, signed(subject, len(all), bundles, signatures, slices.Contains(beside, "sig"))...), nil
}

// signed examines what is attached, by what programs look for.
func signed(subject string, referrers, bundles, signatures int, older bool) []Finding {
	var found []Finding
	add := func(ok bool, finding, good, bad, next string) {
		if ok {
			found = append(found, Finding{subject, finding, Good, good, ""})
		} else {
			found = append(found, Finding{subject, finding, Bad, bad, next})
		}
	}
	const again = "run `lockage hydrate`, or `lockage repair --apply` for what is live"
	add(signatures > 0, "cosign-3", fmt.Sprintf("%d signatures as bundles", signatures), "no signature as a bundle", again)
	if !older && signatures > 0 {
		found = append(found, Finding{subject, "cosign-2", Warning, "no tag .sig: cosign 2 finds the signature as a bundle, with --new-bundle-format, and older programs find none",
			again + "; who signs without a key, with a log of Rekor v2, has no such form, and nothing is to do then"})
	} else {
		add(older, "cosign-2", "a signature under the tag .sig", "no signature in either form", again)
	}
	add(signatures > 0 || bundles == 0 && older, "flux", "it finds a signature", "Flux ignores .sig as soon as any bundle is attached, and no bundle is a signature", again)
	add(signatures > 0 || older, "kyverno", "it finds a signature, by type Cosign or SigstoreBundle", "no signature in either form", again)
	switch {
	case referrers >= maxReferrers:
		found = append(found, Finding{subject, "referrers", Bad, fmt.Sprintf("%d manifests are attached, and programs read some %d", referrers, maxReferrers), "delete those that nobody needs"})
	case referrers >= nearReferrers:
		found = append(found, Finding{subject, "referrers", Warning, fmt.Sprintf("%d manifests are attached, and programs read some %d", referrers, maxReferrers), "delete those that nobody needs"})
	}
	return found
}
