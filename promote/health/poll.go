package health

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/lockage/lockage/oci"
)

// poll reads every object once.
func (c *Cluster) poll(ctx context.Context, q Question) ([]State, error) {
	if len(q.Applications) == 0 && len(q.Kustomizations) == 0 {
		states, err := c.find(ctx, q)
		if apierrors.IsForbidden(err) { // the account may not list the objects of a whole cluster
			err = fmt.Errorf("%w; objects that are named with --application or --flux are read by themselves", err)
		}
		return states, err
	}
	var states []State
	for _, n := range q.Applications {
		o, err := c.get(ctx, application, n)
		if err != nil {
			return nil, err
		}
		states = append(states, judgeApplication(o, q.Digest))
	}
	seen := map[Name]bool{}
	for _, n := range q.Kustomizations {
		o, err := c.get(ctx, kustomization, n)
		if err != nil {
			return nil, err
		}
		from, ok := o.sourceRef()
		if !ok {
			return nil, fmt.Errorf("%s %s: %w: its source is not an OCIRepository", o, n, ErrUnfit)
		}
		if !seen[from] {
			seen[from] = true
			repository, err := c.get(ctx, ociRepository, from)
			if err != nil {
				return nil, err
			}
			states = append(states, judgeFlux(repository, q.Digest))
		}
		if states, err = appendKustomization(states, o, q); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func appendKustomization(states []State, o object, q Question) ([]State, error) {
	if !o.checksHealth() {
		return nil, fmt.Errorf("%s %s: %w: it does not check whether what it applied is healthy; set spec.wait to true", o, o.name(), ErrUnfit)
	}
	return append(states, judgeFlux(o, q.Digest)), nil
}

// find reads every object whose source is the stage's artifact.
func (c *Cluster) find(ctx context.Context, q Question) ([]State, error) {
	apps, err := c.list(ctx, application, func(o object) bool {
		return slices.ContainsFunc(o.sources(), func(s source) bool {
			return sameRepository(s.url, q.Repository) && q.follows(s.target, "")
		})
	})
	if err != nil {
		return nil, err
	}
	repositories, err := c.list(ctx, ociRepository, func(o object) bool {
		return sameRepository(o.str("spec", "url"), q.Repository) && q.follows(o.str("spec", "ref", "tag"), o.str("spec", "ref", "digest"))
	})
	if err != nil {
		return nil, err
	}
	if len(apps) == 0 && len(repositories) == 0 {
		return nil, fmt.Errorf("%w: no Application and no OCIRepository has the source oci://%s at tag %s; name them with --application or --flux",
			ErrUnknown, q.Repository, q.Stage)
	}
	var states []State
	for _, o := range apps {
		states = append(states, judgeApplication(o, q.Digest))
	}
	if len(repositories) == 0 {
		return states, nil
	}
	all, err := c.list(ctx, kustomization, func(o object) bool { _, ok := o.sourceRef(); return ok })
	if err != nil {
		return nil, err
	}
	for _, repository := range repositories {
		states = append(states, judgeFlux(repository, q.Digest))
		applied := false
		for _, o := range all {
			if from, _ := o.sourceRef(); from != repository.name() {
				continue
			}
			applied = true
			if states, err = appendKustomization(states, o, q); err != nil {
				return nil, err
			}
		}
		if !applied {
			return nil, fmt.Errorf("%s %s: %w: no Kustomization applies it", repository, repository.name(), ErrUnfit)
		}
	}
	return states, nil
}

// follows reports whether a source at a tag or digest is the stage's: in a repository of several stages, the tag names the
// stage.
func (q Question) follows(tag, digest string) bool {
	return tag != "" && oci.StageOfTag(tag) == q.Stage || digest == q.Digest.String() || tag == q.Digest.String()
}
