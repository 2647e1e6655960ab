package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockage/lockage/promote/board"
)

// writeBoard writes the status of stages as a static site.
func (a *app) writeBoard(ctx context.Context, d declaration, results statusResults, dir string) error {
	var status bytes.Buffer
	if err := writeJSON(&status, document{Results: results, Error: messageOf(results.err())}); err != nil {
		return err
	}
	b := &board.Board{PolicyRef: fmt.Sprintf("%s at %.12s", d.policyRef.Name(), d.policyRef.Tip()), Time: time.Now(), Status: status.Bytes()}
	for _, r := range results {
		b.Pipelines = append(b.Pipelines, r.board())
	}
	e, err := a.environment(ctx, true)
	if err != nil {
		return err
	}
	e.Warn = func(string) {} // what concerns a stage is on its page
	err = board.Reader{Environment: e, Policy: d.policyRef, Declared: d.files, Pipelines: d.pipelines}.Read(ctx, b)
	if err == nil {
		err = b.Write(dir)
	}
	return err
}

// checkBoard refuses a folder that holds something else than the site of an earlier run.
func checkBoard(dir string) error {
	err := board.Check(dir)
	if errors.Is(err, board.ErrFolder) {
		return usagef("--html %w", err)
	}
	return err
}

func (r statusResult) board() *board.Pipeline {
	p := &board.Pipeline{Name: r.Pipeline}
	for _, note := range []string{r.Note, r.wentBack()} {
		if note != "" {
			p.Notes = append(p.Notes, note)
		}
	}
	for _, s := range r.Stages {
		of := &board.Stage{Name: s.Stage, After: s.after, Tag: s.Tag, Branch: s.Branch, Drift: s.Drift, Error: s.Error, Note: s.note}
		of.Candidate, of.Unpromoted = s.Candidate.board(), s.Unpromoted.board()
		if s.Live != nil {
			of.Live, of.Since = s.Live.board(), s.Live.Since
		}
		p.Stages = append(p.Stages, of)
	}
	return p
}

func (r *shownRelease) board() *board.Artifact {
	if r == nil {
		return nil
	}
	return &board.Artifact{Release: r.Release, Digest: r.Digest, Input: r.Input}
}
