package hydrate

import "context"

type progressKey struct{}

// WithProgress returns a context whose renders call report with the name of each template, such as
// "mychart/templates/deployment.yaml", before they execute it. Renders of one context may call report concurrently.
func WithProgress(ctx context.Context, report func(name string)) context.Context {
	return context.WithValue(ctx, progressKey{}, report)
}

// Progress reports what is executed next to the function that [WithProgress] put into ctx.
func Progress(ctx context.Context, name string) {
	if report, ok := ctx.Value(progressKey{}).(func(string)); ok {
		report(name)
	}
}
