#include "bindings/bindings.hpp"

NB_MODULE(ANYFM_MODULE, m) {
  anyfm::bind_rows(m);
  anyfm::bind_gibbs(m);
  anyfm::bind_prior(m);
  anyfm::bind_model(m);
  anyfm::bind_sparse_store(m);
  anyfm::bind_random(m);
  anyfm::bind_ranking(m);
  anyfm::bind_text(m);
}
