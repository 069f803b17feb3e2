"""How fast Berth decides and binds, beside kube-scheduler in the same control plane."""
