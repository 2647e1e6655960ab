//go:build azurekms

package sign

import _ "github.com/sigstore/sigstore/pkg/signature/kms/azure" // signs with azurekms://…
