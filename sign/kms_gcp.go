//go:build gcpkms

package sign

import _ "github.com/sigstore/sigstore/pkg/signature/kms/gcp" // signs with gcpkms://…
