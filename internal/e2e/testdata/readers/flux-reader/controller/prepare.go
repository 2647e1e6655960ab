package controller

import "github.com/fluxcd/pkg/runtime/patch"

// Prepare does what SetupWithManager does of a reconciler without a manager.
func (r *OCIRepositoryReconciler) Prepare() {
	r.patchOptions = getPatchOptions(ociRepositoryReadyCondition.Owned, r.ControllerName)
}

// getPatchOptions is what the file of another reconciler has.
func getPatchOptions(owned []string, controller string) []patch.Option {
	return []patch.Option{patch.WithOwnedConditions{Conditions: owned}, patch.WithFieldOwner(controller)}
}
