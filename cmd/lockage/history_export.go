package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/wholefile"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/proof"
	"github.com/lockage/lockage/promote/sides"
)

type exportResult struct {
	Pipeline string        `json:"pipeline"`
	Stage    string        `json:"stage"`
	Sequence int           `json:"sequence"`
	Release  string        `json:"release"`
	Digest   digest.Digest `json:"digest"`
	File     string        `json:"file"`
}

func (r exportResult) Text(w io.Writer) {
	fmt.Fprintf(w, "%s/%s: promotion %d of %s\n  artifact %s\n  all that proves it is in %s; VERIFY.md there has the commands\n", r.Pipeline, r.Stage, r.Sequence, r.Release, r.Digest, r.File)
}

// export writes what proves one promotion of a stage to a file, which is complete or not there.
func (a *app) export(ctx context.Context, name, release, file string) error {
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	pipelines, stage, err := verify.Having(d.pipelines, strings.TrimPrefix(name, sides.LivePrefix))
	if err != nil {
		return err
	}
	if len(pipelines) > 1 {
		return usagef("%d pipelines have a stage %s: name one as PIPELINE/STAGE", len(pipelines), stage)
	}
	s, err := d.open(ctx, pipelines[0], stage)
	if err != nil {
		return err
	}
	state, err := live.Read(ctx, s)
	if errors.Is(err, live.ErrBroken) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		a.warn("%s/%s: later promotions may exist, since the registry does not answer: %v", pipelines[0].Name, stage, err)
	}
	p := proof.Promotion{Stage: s}
	found := false
	for promotion, err := range live.HistoryOf(ctx, s, state) {
		if err != nil {
			return err
		}
		if found = promotion.To.Digest != "" && (release == "" || lock.Abbreviates(release, promotion.To.Release)); found {
			p.Promotion, p.Shown = promotion, showPromotion(promotion, promotion.Time)
			break
		}
	}
	if !found {
		return fmt.Errorf("%s/%s: no promotion of %s: `lockage history %s` lists them", pipelines[0].Name, stage, release, pipelines[0].Argument(stage))
	}
	if p.Pipeline, err = d.policyRef.PipelineAt(ctx, p.Policy.Commit, p.Policy.File); err != nil {
		return err
	}
	if p.Files, err = d.policyRef.FilesAt(ctx, p.Policy.Commit); err != nil {
		return err
	}
	if err := wholefile.Create(file, fmt.Sprintf("%s.incoming-%d", file, os.Getpid()), func(f *os.File) error { return proof.Write(ctx, f, p) }); err != nil {
		return err
	}
	a.emit(list[exportResult]{{p.Promotion.Pipeline, p.Promotion.Stage, p.Sequence, p.To.Release, p.To.Digest, file}})
	return nil
}
