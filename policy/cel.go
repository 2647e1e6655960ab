package policy

import (
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/cel"
)

// celGate asks that an expression over the objects is true.
type celGate struct {
	expression string
	program    *cel.Program
}

func parseCEL(expression string, d *pipeline.Declaration) pipeline.Condition {
	g := celGate{expression: expression}
	if d.Rule("", pipeline.NotEmpty) {
		g.program = compile(d, "", expression, varObjects, varLiveObjects, "release", "pipeline", "stage", "image", varDiff)
	}
	return g
}

// compile compiles the expression under a key; nil with a problem reported.
func compile(d *pipeline.Declaration, key, expression string, variables ...string) *cel.Program {
	program, err := pipeline.Once(d, "cel "+strings.Join(variables, " ")+": "+expression, func() (*cel.Program, error) {
		return cel.Compile(expression, variables...)
	})
	if err != nil {
		d.Report(key, "does not compile: %v", err)
	}
	return program
}

func (celGate) Signers() pipeline.Signers { return pipeline.Signers{} }

func (g celGate) Need(n *Needs) { n.Seen.Add(g.program.Names) }

func (g celGate) Judge(f Facts) GateResult {
	ok, err := g.program.Eval(f.variables())
	switch {
	case err != nil:
		return fail("cannot be evaluated: %s; it takes: %s", plain(err.Error()), plain(g.expression))
	case !ok:
		return fail("false: it takes: %s", plain(g.expression))
	}
	return pass("true: %s", plain(g.expression))
}

// Variables that it takes work to have.
const (
	varObjects     = "objects"
	varLiveObjects = "liveObjects"
	varDiff        = "diff"
)

// variables are what CEL expressions see of a promotion, and Rego in data.lockage.
func (f Facts) variables() map[string]any {
	image, ref := Subject{}, "" // empty texts without an image
	if len(f.Images) > 0 && f.Images[0].Name == ApplicationImage {
		image = f.Images[0].Subject
		ref = image.Repository + "@" + image.Digest.String()
	}
	return map[string]any{
		varObjects:     objects(f.Objects),
		varLiveObjects: objects(f.LiveObjects),
		"release":      map[string]any{"id": f.Release, "commit": f.Commit},
		"pipeline":     f.Pipeline,
		"stage":        f.Stage,
		"image": map[string]any{
			"repository": image.Repository,
			"digest":     image.Digest.String(),
			"ref":        ref,
		},
		varDiff: f.Diff,
	}
}

// objects returns a list as expressions take it: never null.
func objects(list []map[string]any) []any {
	out := make([]any, len(list))
	for i, o := range list {
		out[i] = o
	}
	return out
}
