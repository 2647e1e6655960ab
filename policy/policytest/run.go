package policytest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

// Report is how one case came out.
type Report struct {
	File     string              `json:"file"`
	Case     string              `json:"case"`
	Result   policy.Result       `json:"result"`             // of the test: pass or fail
	Problems []string            `json:"problems,omitempty"` // what was expected and did not come
	Verdict  policy.Result       `json:"verdict"`            // of the gates together
	Gates    []policy.GateResult `json:"gates"`
}

// Run runs the cases of one file, in its order. name is the file's name in messages, files the folder that its paths
// are relative to: the GitOps repository, mostly. The error is strictyaml.Problems where the file, or one that it names,
// is at fault; then no case was run.
func Run(ctx context.Context, name string, data []byte, files fs.FS) ([]Report, error) {
	s, err := parse(name, data, files)
	if err != nil {
		return nil, err
	}
	reports := make([]Report, 0, len(s.file.Cases))
	for i := range s.file.Cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := s.run(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("case %q of %s: %w", s.file.Cases[i].Name, name, err)
		}
		reports = append(reports, r)
	}
	if err := s.problems.Err(); err != nil {
		return nil, err
	}
	return reports, nil
}

func (s *suite) run(ctx context.Context, i int) (Report, error) {
	c := s.file.Cases[i]
	l := s.lockOf(i)
	gates, waivers, err := s.gates(l)
	var problems strictyaml.Problems
	if errors.As(err, &problems) {
		s.problems = append(s.problems, problems...)
		s.check(i, nil)
		return Report{}, nil
	}
	if err != nil {
		return Report{}, err
	}
	s.check(i, policy.GateNames(gates))
	facts, err := s.facts(ctx, i, gates, waivers, l)
	if err != nil || len(s.problems) > 0 { // the problems of all cases are reported together
		return Report{}, err
	}
	r := Report{File: s.name, Case: c.Name, Result: policy.Pass, Gates: policy.Gates(gates, waivers, facts)}
	r.Verdict = policy.Outcome(r.Gates)
	if c.Result != "" && c.Result != string(r.Verdict) {
		r.Problems = append(r.Problems, fmt.Sprintf("all gates together: got %s, want %s", r.Verdict, c.Result))
	}
	for _, got := range r.Gates {
		want, asked := c.Expect[got.Gate]
		if !asked {
			continue
		}
		if want.Result != string(got.Result) {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: got %s, want %s: %s", got.Gate, got.Result, want.Result, got.Reason))
		}
		if !strings.Contains(got.Reason, want.Reason) {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: the reason does not say %q: %s", got.Gate, want.Reason, got.Reason))
		}
		if when := s.time(want.RetryAfter); !when.IsZero() && (got.RetryAfter == nil || !got.RetryAfter.Equal(when)) {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: got retryAfter %s, want %s", got.Gate, retry(got), want.RetryAfter))
		}
	}
	if len(r.Problems) > 0 {
		r.Result = policy.Fail
	}
	return r, nil
}

func retry(r policy.GateResult) string {
	if r.RetryAfter == nil {
		return "none"
	}
	return r.RetryAfter.Format("2006-01-02T15:04:05Z07:00")
}
