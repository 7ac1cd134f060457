"""The custom resources as their users write them. The one source of the CRDs, and of what the controller accepts."""
