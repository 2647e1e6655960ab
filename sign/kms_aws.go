//go:build awskms

package sign

import _ "github.com/sigstore/sigstore/pkg/signature/kms/aws" // signs with awskms://…
