package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/sides"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

const (
	// maxPredicate bounds a predicate, in bytes: signed and encoded it must stay below the limit of readers.
	maxPredicate = 2 << 20

	// ownTypes is the prefix of the predicate types of lockage.
	ownTypes = "https://lockage.dev/"

	subjectImage = "image"
)

type attestFlags struct {
	signFlags
	what, stage, subject, predicateType, predicate string
	rebuilt                                        string
	health                                         healthFlags
}

func newAttestCommand(a *app) *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use:   "attest STAGE|live:STAGE|REFERENCE --type URI --predicate FILE --key KEY | attest --health STAGE --key KEY | attest --rebuilt STAGE --key KEY",
		Short: "Sign a statement about an artifact: test results, scans, health, a render that came out equal",
		Long: `Attest signs an in-toto statement about an artifact, or with --subject image about the image that its release locks, and
attaches it as a Sigstore bundle, where attestation gates find it. The predicate is a JSON object that you supply, signed as
it is. The artifact is verified first: attest signs nothing about one that fails.

STAGE, or candidate:STAGE, means its candidate of the current release, and live:STAGE what is live. REFERENCE is REPOSITORY:TAG or REPOSITORY@DIGEST.

With --health it waits until the cluster runs the artifact that is live in the stage and reports it as synced and healthy,
by Argo CD's Application or Flux's OCIRepository and Kustomization, and signs that, for soak gates with healthy: true.
Anything less is never signed: after --timeout-wait, or after --timeout if only that is given, it exits with status 5.

With --rebuilt it renders the candidate of the stage again from its provenance alone, as verify --rebuild does, and signs that
it came out equal, for reproduced gates. Nothing is signed about an artifact that differs.

The key must not be a hydrator's or promoter's: clusters accept anything signed with that key as approval, whatever the
statement says. The promoter of a stage may sign that stage's health.`,
		Example: `  lockage attest production --type https://acme.dev/ui-tests/v1 --predicate result.json --key ~/.lockage/ci.key
  trivy image --format json "$IMAGE" | lockage attest staging --subject image --type https://acme.dev/scan/v1 --predicate - --key ~/.lockage/ci.key
  lockage attest --rebuilt production --key ~/.lockage/rebuilder.key
  lockage attest --health staging --key ~/.lockage/promote-staging.key
  lockage attest --health staging --key ~/.lockage/promote-staging.key --application argocd/shop-staging --timeout-wait 10m`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.what = args[0]
			}
			switch {
			case f.health.question.Stage != "" && f.rebuilt != "":
				return usagef("--health and --rebuilt are two statements: run attest for each")
			case f.health.question.Stage != "":
				f.health.question.Timeout = a.waitTimeout(cmd, f.health.question.Timeout)
				return a.attestHealth(cmd.Context(), f)
			case f.rebuilt != "":
				return a.attestRebuilt(cmd.Context(), f)
			}
			return a.attest(cmd.Context(), f)
		},
	}
	a.signFlags(cmd, &f.signFlags)
	cmd.Flags().StringVar(&f.stage, "stage", "", "`STAGE` of a REFERENCE")
	cmd.Flags().StringVar(&f.subject, "subject", "artifact", "`SUBJECT` of the statement: artifact, image, or image:NAME for a further image of the lock")
	cmd.Flags().StringVar(&f.predicateType, "type", "", "type of the predicate, a `URI`")
	cmd.Flags().StringVar(&f.predicate, "predicate", "", "`FILE` with the predicate, a JSON object; - for standard input")
	cmd.Flags().StringVar(&f.rebuilt, "rebuilt", "", "`STAGE` whose candidate to render again, and to attest that it came out equal")
	f.health.add(cmd)
	return cmd
}

func (f *attestFlags) check() error {
	switch {
	case f.what == "":
		return usagef("name a STAGE or REFERENCE, or use attest --health STAGE or --rebuilt STAGE")
	case f.predicateType == "" && f.predicate == "":
		return usagef("--type and --predicate are missing: name the predicate's type, a URI, and a file with a JSON object")
	case f.predicateType == "":
		return usagef("--type is missing: name the predicate's type, a URI")
	case f.predicate == "":
		return usagef("--predicate is missing: name a file with a JSON object, or - for standard input")
	case f.subject != "artifact" && !strings.HasPrefix(f.subject+":", subjectImage+":"):
		return usagef("--subject %q: want artifact, image or image:NAME", f.subject)
	}
	if u, err := url.Parse(f.predicateType); err != nil || u.Scheme == "" || len(f.predicateType) > maxText {
		return usagef("--type %.100q is not a URI", f.predicateType)
	}
	if strings.HasPrefix(f.predicateType, ownTypes) {
		return usagef("--type %s: only approve, promote, attest --health and attest --rebuilt make statements of this type", f.predicateType)
	}
	if err := f.health.refuseWithout(); err != nil {
		return err
	}
	return f.signFlags.check()
}

// attested finds the artifact that a statement is to be about.
func (a *app) attested(ctx context.Context, f attestFlags) (*target, error) {
	stage, isLive := strings.CutPrefix(f.what, sides.LivePrefix)
	switch {
	case !isLive:
		return a.target(ctx, f.signFlags, verify.Query{Artifact: f.what, Stage: f.stage, Release: f.release})
	case f.release != "" || f.stage != "":
		return nil, usagef("--release and --stage are those of a candidate or REFERENCE: leave them out for live:%s", stage)
	}
	f.health.question.Stage = stage
	t, _, err := a.promoted(ctx, f, "")
	return t, err
}

func (a *app) attest(ctx context.Context, f attestFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	stated, err := a.readPredicate(f.predicate)
	if err != nil {
		return err
	}
	t, err := a.attested(ctx, f)
	if err != nil {
		return err
	}
	s, err := a.signer(ctx, f.key, t, pipeline.RolePromoter, pipeline.RoleHydrator)
	if err != nil {
		return err
	}
	// For an image too: the artifact proves that the release locks it.
	if err := t.verify(ctx); err != nil {
		return err
	}
	statement := sign.NewSignature(t.desc.Digest, t.claim())
	if image, ok := strings.CutPrefix(f.subject, subjectImage); ok {
		if err := t.toImage(ctx, strings.TrimPrefix(image, ":")); err != nil {
			return err
		}
		statement.Subject = sign.Subject{Name: t.repository.Name(), Digest: t.desc.Digest}
	}
	statement.PredicateType, statement.Predicate = f.predicateType, stated
	return a.attach(ctx, t, s, statement, predicate.SamePredicate(statement), attestResult{Action: "attested"})
}

// toImage makes the locked image of a name the subject; the application's has none.
func (t *target) toImage(ctx context.Context, name string) (err error) {
	images := t.lock.Images()
	i := slices.IndexFunc(images, func(image lock.NamedImage) bool { return image.Name == name })
	if i < 0 && name == "" {
		return usagef("--subject image: the lock of %s names no image", t.lock.ReleaseID)
	}
	if i < 0 {
		return usagef("--subject image:%s: the lock of %s names no such image", name, t.lock.ReleaseID)
	}
	image := images[i]
	if t.repository, err = oci.NewImages(t.client).Repository(image.Pinned()); err != nil {
		return err
	}
	t.reference = t.repository.Reference(image.Digest.String())
	t.desc, err = t.repository.Resolve(ctx, image.Digest.String())
	return err
}

func (a *app) readPredicate(name string) (json.RawMessage, error) {
	r := a.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, usagef("--predicate: %w", err)
		}
		defer file.Close()
		r = file
	}
	data, err := bounded.Read(r, maxPredicate)
	switch {
	case errors.Is(err, bounded.ErrTooLarge):
		return nil, usagef("--predicate %s: %w", name, err)
	case err != nil:
		return nil, fmt.Errorf("--predicate %s: %w", name, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, usagef("--predicate %s: not a JSON object", name)
	}
	return data, nil
}
